// Which reasons of which counters a simulation reached, read from the metrics of its nodes as Prometheus does.

/** Labels whose values are results or reasons. */
const REASON_LABELS = ['reason', 'result']

export class Coverage {
  /** What was counted, by the name of the metric and the value of the label, as `puts_total stored`. */
  readonly counts = new Map<string, number>()

  /** Adds the counters in metrics of one process, at its end. */
  read(metrics: string): void {
    for (const line of metrics.split('\n')) {
      const match = /^tlscached_([a-z_]+)\{([^}]*)\}(?: (\S+))?$/.exec(line)
      if (match === null) continue
      const [, metric = '', labels = '', value = '0'] = match
      for (const label of REASON_LABELS) {
        const reason = new RegExp(`(?:^|,)${label}="([^"]*)"`).exec(labels)?.[1]
        if (reason !== undefined) this.addCount(`${metric} ${reason}`, Number(value))
      }
    }
  }

  addCount(name: string, count: number): void {
    this.counts.set(name, (this.counts.get(name) ?? 0) + count)
  }
}
