// A logger that keeps its lines for a test to read.

import type { LogFields, Logger } from '../../src/base/world.ts'

export interface LogLine {
  readonly level: string
  readonly fields: LogFields
  readonly message: string
}

export class RecordingLogger implements Logger {
  readonly lines: LogLine[] = []

  debug(fields: LogFields, message: string): void {
    this.lines.push({ level: 'debug', fields, message })
  }

  info(fields: LogFields, message: string): void {
    this.lines.push({ level: 'info', fields, message })
  }

  warn(fields: LogFields, message: string): void {
    this.lines.push({ level: 'warn', fields, message })
  }

  error(fields: LogFields, message: string): void {
    this.lines.push({ level: 'error', fields, message })
  }
}
