// Series drawn as SVG: points and lines over two logarithmic axes, and a dashed line of how cost should
// grow. The same figures give the same file.

import { writeFileSync } from 'node:fs'
import { parse, View } from 'vega'
import { compile, type TopLevelSpec } from 'vega-lite'

export interface Point {
  readonly x: number
  readonly y: number
  /** Smallest and largest of the rounds. */
  readonly spread: readonly [number, number]
}

export interface Axis {
  /** With the unit. */
  readonly title: string
  /** Where the marks of the axis are; default: at powers of ten. */
  readonly marks?: readonly number[]
}

/** A line through one of the points of the first series, as `how` says cost should grow. */
export interface Expectation {
  readonly how: 'linear' | 'constant'
  readonly through: 'first' | 'last'
}

export interface Plot {
  readonly title: string
  readonly x: Axis
  readonly y: Axis
  readonly series: readonly { readonly name: string; readonly points: readonly Point[] }[]
  readonly expectation: Expectation
}

const WIDTH = 560
const HEIGHT = 340
const FONT = 'Helvetica, Arial, sans-serif'
/** Distinct to the colour-blind, too: of Okabe and Ito. */
const COLORS = ['#0072b2', '#d55e00', '#009e73']
const EXPECTED_COLOR = '#777777'
/** Room between the outermost points and the ends of an axis, as a factor. */
const MARGIN = 1.4

export async function drawPlot(file: string, plot: Plot): Promise<void> {
  const { spec } = compile(specOf(plot))
  const svg = await new View(parse(spec), { renderer: 'none' }).toSVG()
  writeFileSync(file, `${svg}\n`)
}

function specOf({ title, x, y, series, expectation }: Plot): TopLevelSpec {
  const points = series.flatMap(({ name, points }) => points.map((point) => ({ ...point, name })))
  const expected = expectedPoints(series[0]?.points ?? [], expectation)
  const names = series.map(({ name }) => name)
  const xs = points.map((point) => point.x)
  const ys = [...points.flatMap(({ spread }) => spread), ...expected.map((point) => point.y)]
  const color = {
    field: 'name',
    type: 'nominal' as const,
    title: null,
    scale: {
      domain: [...names, expectation.how],
      range: [...COLORS.slice(0, names.length), EXPECTED_COLOR],
    },
  }
  const xChannel = {
    field: 'x',
    type: 'quantitative' as const,
    title: x.title,
    scale: { type: 'log' as const, domain: around(xs), nice: false },
    axis: { values: [...(x.marks ?? powersOfTen(xs))], format: '~s' },
  }
  const yChannel = {
    type: 'quantitative' as const,
    title: y.title,
    scale: { type: 'log' as const, domain: decadesAround(ys), nice: false },
    axis: { values: [...(y.marks ?? powersOfTen(ys))], format: '~r' },
  }
  const atY = { ...yChannel, field: 'y' }
  return {
    background: 'white',
    width: WIDTH,
    height: HEIGHT,
    padding: 12,
    title: { text: title, anchor: 'start' },
    config: {
      font: FONT,
      title: { fontSize: 15, offset: 12 },
      axis: { labelFontSize: 12, titleFontSize: 13, gridColor: '#e6e6e6', titlePadding: 8 },
      legend: { labelFontSize: 12, orient: 'right', offset: 12 },
    },
    encoding: { x: xChannel },
    layer: [
      {
        data: { values: expected.map((point) => ({ ...point, name: expectation.how })) },
        mark: { type: 'line', strokeDash: [5, 4], strokeWidth: 1.5 },
        encoding: { y: atY, color },
      },
      {
        data: {
          values: points.map(({ spread: [low, high], ...rest }) => ({ ...rest, low, high })),
        },
        encoding: { color },
        layer: [
          { mark: { type: 'line', strokeWidth: 2 }, encoding: { y: atY } },
          { mark: { type: 'point', filled: true, size: 60, opacity: 1 }, encoding: { y: atY } },
          {
            mark: { type: 'rule', strokeWidth: 1.5 },
            encoding: { y: { ...yChannel, field: 'low' }, y2: { field: 'high' } },
          },
        ],
      },
    ],
  }
}

/** Straight over logarithmic axes, so its ends are enough. */
function expectedPoints(
  points: readonly Point[],
  { how, through }: Expectation,
): { readonly x: number; readonly y: number }[] {
  const fixed = through === 'first' ? points[0] : points.at(-1)
  if (fixed === undefined) return []
  const [from, to] = around(points.map((point) => point.x))
  const power = how === 'linear' ? 1 : 0
  return [from, to].map((x) => ({ x, y: fixed.y * (x / fixed.x) ** power }))
}

function around(values: readonly number[]): [number, number] {
  return [Math.min(...values) / MARGIN, Math.max(...values) * MARGIN]
}

/** Whole powers of ten, two at least: an axis shorter than that has no marks to read it by. */
function decadesAround(values: readonly number[]): [number, number] {
  const low = Math.floor(Math.log10(Math.min(...values)))
  const high = Math.max(low + 1, Math.ceil(Math.log10(Math.max(...values))))
  return [10 ** low, 10 ** high]
}

function powersOfTen(values: readonly number[]): number[] {
  const [low, high] = decadesAround(values)
  const first = Math.round(Math.log10(low))
  const count = Math.round(Math.log10(high)) - first + 1
  return Array.from({ length: count }, (_, step) => 10 ** (first + step))
}
