// A chart of the last hour as lines, drawn without a library: at most two lines, 360 points each, and a cursor.

import type { TargetedPointerEvent } from 'preact'
import { KEPT_SAMPLES } from './cluster-state.ts'
import { timeOfDay } from './words.ts'

export interface Line {
  readonly name: string
  /** Colour and form in page.css. */
  readonly style: 'first' | 'second' | 'bad'
  /** The newest last; undefined where nothing is known. */
  readonly values: readonly (number | undefined)[]
}

export interface ChartProps {
  readonly title: string
  readonly lines: readonly Line[]
  /** Puts a value into words. */
  readonly format: (value: number) => string
  /** The value at the top; default: the largest one, rounded up. */
  readonly top?: number
  readonly periodMs: number
  /** Time of day of the last sample, in ms since 1970. */
  readonly endMs: number
  /** Index of the sample under the cursor; undefined shows the newest. */
  readonly cursor: number | undefined
  readonly onCursor: (cursor: number | undefined) => void
}

const WIDTH = KEPT_SAMPLES - 1
const HEIGHT = 100
/** Samples that the cursor moves with page up and page down: five minutes. */
const PAGE_SAMPLES = 30

export function Chart(props: ChartProps) {
  const { title, lines, format, periodMs, endMs, cursor, onCursor } = props
  const top = props.top ?? roundedUp(Math.max(0, ...lines.flatMap(({ values }) => knownOf(values))))
  const at = cursor ?? WIDTH
  const moment = timeOfDay(endMs, (WIDTH - at) * periodMs)
  const texts = lines.map(({ name, values }) => {
    const value = values[at]
    return { name, text: value === undefined ? 'none' : format(value) }
  })
  const spoken = texts.map(({ name, text }) => `${name} ${text}`).join(', ')
  return (
    <figure>
      <figcaption>
        <span class="title">{title}</span>
        <span class="moment">{cursor === undefined ? 'now' : `at ${moment}`}</span>
      </figcaption>
      <ul class="legend">
        {lines.map(({ name, style }, index) => (
          <li key={name} class={style}>
            <span class="swatch" aria-hidden="true" />
            {name} <strong>{texts[index]?.text}</strong>
          </li>
        ))}
      </ul>
      <div
        class="plot"
        role="slider"
        tabIndex={0}
        aria-label={`${title}: the last hour`}
        aria-valuemin={0}
        aria-valuemax={WIDTH}
        aria-valuenow={at}
        aria-valuetext={`${moment}: ${spoken}`}
        onPointerMove={(event) => onCursor(indexAt(event))}
        onPointerLeave={() => onCursor(undefined)}
        onBlur={() => onCursor(undefined)}
        onKeyDown={(event) => {
          const next = movedBy(event.key, at)
          if (next === undefined) return
          event.preventDefault()
          onCursor(next >= WIDTH ? undefined : Math.max(0, next))
        }}
      >
        <span class="top">{format(top)}</span>
        <svg viewBox={`0 0 ${WIDTH} ${HEIGHT}`} preserveAspectRatio="none" aria-hidden="true">
          <path class="grid" d={`M0 0H${WIDTH}M0 50H${WIDTH}M0 100H${WIDTH}`} />
          {lines.map(({ name, style, values }) => (
            <path key={name} class={style} d={pathOf(values, top)} />
          ))}
          {cursor !== undefined && <path class="cursor" d={`M${at} 0V${HEIGHT}`} />}
        </svg>
      </div>
      <div class="axis" aria-hidden="true">
        <span>1 h ago</span>
        <span>30 min</span>
        <span>now</span>
      </div>
    </figure>
  )
}

function knownOf(values: Line['values']): number[] {
  return values.filter((value) => value !== undefined)
}

/** The next of 1, 2, 5, 10, 20, ... that is at least this large. */
function roundedUp(value: number): number {
  if (value <= 1) return 1
  const power = 10 ** Math.floor(Math.log10(value))
  return ([1, 2, 5, 10].find((step) => step * power >= value) ?? 10) * power
}

function pathOf(values: Line['values'], top: number): string {
  let path = ''
  let isDown = false
  for (const [x, value] of values.entries()) {
    if (value !== undefined) {
      const y = HEIGHT - (Math.min(value, top) / top) * HEIGHT
      // A single point between gaps is drawn, too: as a line of no length with round ends.
      path += isDown ? `L${x} ${y.toFixed(1)}` : `M${x} ${y.toFixed(1)}h0`
    }
    isDown = value !== undefined
  }
  return path
}

function indexAt({ currentTarget, clientX }: TargetedPointerEvent<HTMLElement>): number {
  const { left, width } = currentTarget.getBoundingClientRect()
  const share = (clientX - left) / Math.max(1, width)
  return Math.min(WIDTH, Math.max(0, Math.round(share * WIDTH)))
}

function movedBy(key: string, at: number): number | undefined {
  switch (key) {
    case 'ArrowLeft':
    case 'ArrowDown':
      return at - 1
    case 'ArrowRight':
    case 'ArrowUp':
      return at + 1
    case 'PageDown':
      return at - PAGE_SAMPLES
    case 'PageUp':
      return at + PAGE_SAMPLES
    case 'Home':
      return 0
    case 'End':
      return WIDTH
    default:
      return undefined
  }
}
