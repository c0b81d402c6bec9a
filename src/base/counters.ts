// Declares counters, each in one place: its zeros, its type, its metric, its JSON and its documentation come from there.
//
// The counts themselves are plain numbers in plain objects, which the code that counts adds to:
//
//   const LINK_COUNTERS = {
//     lost: one(counter('lost_total', 'Messages that never arrived.')),
//     dropped: by('reason', { malformed: 'no message' }, counter('dropped_total', 'Messages dropped, by reason.')),
//   }
//   const counts = zeros(LINK_COUNTERS)
//   counts.dropped.malformed += 1

import { DurationHistogram } from './histogram.ts'

export type Labels = Readonly<Record<string, string>>

/** A metric of Prometheus. Several fields, with different labels, can belong to one. */
export interface Metric {
  /** Name without the prefix `tlscached_`; never changed. */
  readonly name: string
  readonly type: 'counter' | 'gauge' | 'histogram'
  readonly help: string
  /** Names of the labels that tell the objects of counts apart, such as the cache. */
  readonly labels: readonly string[]
}

/** A number; without a metric it is in JSON only. */
export interface OneField {
  readonly kind: 'one'
  readonly metric: Metric | undefined
  /** Labels of this field; with a label that names the field itself, its value is ''. */
  readonly labels: Labels
  readonly meaning: string
}

/** A record with a number for each value of a label. */
export interface ByField<V extends string = string> {
  readonly kind: 'by'
  readonly metric: Metric | undefined
  readonly labels: Labels
  readonly label: string
  /** What each value means. */
  readonly values: Readonly<Record<V, string>>
}

export interface DurationsField {
  readonly kind: 'durations'
  readonly metric: Metric
}

export type Field = OneField | ByField | DurationsField

/** Fields by name in camel case, in the order of the JSON; they can be grouped. */
export interface Declaration {
  readonly [name: string]: Field | Declaration
}

export type CountsOf<D> = {
  -readonly [K in keyof D]: D[K] extends OneField
    ? number
    : D[K] extends ByField<infer V>
      ? Record<V, number>
      : D[K] extends DurationsField
        ? DurationHistogram
        : CountsOf<D[K]>
}

type SnakeCase<S extends string> = S extends `${infer First}${infer Rest}`
  ? `${First extends Lowercase<First> ? First : `_${Lowercase<First>}`}${SnakeCase<Rest>}`
  : S

/** Counts as JSON has them. */
export type JsonOf<C> = {
  [K in keyof C & string as C[K] extends DurationHistogram ? never : SnakeCase<K>]: C[K]
}

/** One sample of a metric when it is scraped. */
export interface Reading {
  readonly labels?: Labels
  readonly value: number | DurationHistogram
}

export function counter(name: string, help: string, ...labels: string[]): Metric {
  return { name, type: 'counter', help, labels }
}

export function gauge(name: string, help: string, ...labels: string[]): Metric {
  return { name, type: 'gauge', help, labels }
}

export function histogram(name: string, help: string, ...labels: string[]): Metric {
  return { name, type: 'histogram', help, labels }
}

export function one(metric?: Metric, labels: Labels = {}, meaning = ''): OneField {
  return { kind: 'one', metric, labels, meaning }
}

export function by<V extends string>(
  label: string,
  values: Readonly<Record<V, string>>,
  metric?: Metric,
  labels: Labels = {},
): ByField<V> {
  return { kind: 'by', metric, labels, label, values }
}

export function durations(metric: Metric): DurationsField {
  return { kind: 'durations', metric }
}

export function isField(field: Field | Declaration): field is Field {
  return typeof field['kind'] === 'string'
}

/** Returns new counts, all 0. */
export function zeros<D extends Declaration>(declaration: D): CountsOf<D> {
  // JSON.parse lays out an object like a literal: fields that are added one by one would be slower to reach.
  const counts: Record<string, unknown> = JSON.parse(JSON.stringify(zerosOf(declaration)))
  for (const [name, field] of Object.entries(declaration)) {
    if (field.kind === 'durations') counts[name] = new DurationHistogram()
  }
  return counts as CountsOf<D>
}

function zerosOf(declaration: Declaration): Record<string, unknown> {
  return mapValues(declaration, (field) => {
    if (!isField(field)) return zerosOf(field)
    return field.kind === 'by' ? mapValues(field.values, () => 0) : 0
  })
}

/** Returns counts for JSON, with names in snake case and without durations. */
export function toJson<C extends object>(counts: C): JsonOf<C> {
  const shown = Object.entries(counts).filter(([, count]) => !(count instanceof DurationHistogram))
  return Object.fromEntries(shown.map(([name, count]) => [toSnakeCase(name), count])) as JsonOf<C>
}

/** Returns the values of a field's label, in their order. */
export function valuesOf<V extends string>(field: ByField<V>): readonly V[] {
  return Object.keys(field.values) as V[]
}

/** Returns the readings of all fields that belong to `metric`. */
export function readingsOf(
  declaration: Declaration,
  metric: Metric,
  counts: Readonly<Record<string, unknown>>,
  labels: Labels,
): Reading[] {
  return Object.entries(declaration).flatMap(([name, field]): Reading[] => {
    const value = counts[name]
    if (!isField(field)) return readingsOf(field, metric, Object(value), labels)
    if (field.metric !== metric) return []
    if (field.kind === 'durations') return [{ labels, value: value as DurationHistogram }]
    const own = { ...labels, ...labelsOf(name, field) }
    if (field.kind === 'one') return [{ labels: own, value: Number(value) }]
    const byValue: Readonly<Record<string, number>> = Object(value)
    return Object.keys(field.values).map((key) => ({
      labels: { ...own, [field.label]: key },
      value: byValue[key] ?? 0,
    }))
  })
}

/** Returns the labels of a field, in which '' stands for the name of the field. */
export function labelsOf(name: string, { labels }: OneField | ByField): Labels {
  return mapValues(labels, (value) => (value === '' ? toSnakeCase(name) : value))
}

/** Returns the metrics of a declaration, each once. */
export function metricsOf(declaration: Declaration): ReadonlySet<Metric> {
  const metrics = Object.values(declaration).flatMap((field) =>
    isField(field) ? [field.metric] : [...metricsOf(field)],
  )
  return new Set(metrics.filter((metric) => metric !== undefined))
}

function toSnakeCase(name: string): string {
  return name.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`)
}

function mapValues<A, B>(record: Readonly<Record<string, A>>, change: (value: A) => B) {
  return Object.fromEntries(Object.entries(record).map(([name, value]) => [name, change(value)]))
}
