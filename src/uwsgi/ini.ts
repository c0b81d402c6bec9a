// Reads uWSGI's ini files: the options of the section [uwsgi], each with its line. Placeholders (%d, %(name),
// $(NAME)) are not filled in here.

export interface IniOption {
  readonly name: string
  /** Text behind the equals sign; `true` when the option is only a name. */
  readonly value: string
  /** Position in the form `file:line`. */
  readonly where: string
}

export interface IniProblem {
  readonly where: string
  /** Name of the option; empty when the problem is not about one option. */
  readonly key: string
  readonly message: string
}

export interface IniFile {
  readonly name: string
  /** The options in the order of the file; a name may occur several times. */
  readonly options: readonly IniOption[]
  readonly problems: readonly IniProblem[]
}

const SECTION = 'uwsgi'
const BARE_VALUE = 'true'
const BYTE_ORDER_MARK = '\ufeff'

export function parseIni(text: string, file: string): IniFile {
  const options: IniOption[] = []
  const problems: IniProblem[] = []
  let section: string | undefined
  let hasSection = false
  const lines = text.replace(BYTE_ORDER_MARK, '').split(/\r?\n/)
  for (const [index, raw] of lines.entries()) {
    const line = raw.trim()
    const where = `${file}:${index + 1}`
    const report = (message: string) => problems.push({ where, key: '', message })
    if (line === '' || line.startsWith(';') || line.startsWith('#')) continue
    if (line.startsWith('[')) {
      if (!line.endsWith(']')) report('a section has no closing bracket')
      section = line.slice(1, -1)
      hasSection ||= section === SECTION
      continue
    }
    if (section === undefined) report(`is before any section: [${SECTION}] is missing`)
    if (section !== SECTION) continue
    const equals = line.indexOf('=')
    const name = (equals === -1 ? line : line.slice(0, equals)).trim()
    if (name === '') report('an option has no name')
    else {
      const value = equals === -1 ? BARE_VALUE : line.slice(equals + 1).trim()
      options.push({ name, value, where })
    }
  }
  if (!hasSection) problems.push({ where: file, key: '', message: `has no section [${SECTION}]` })
  return { name: file, options, problems }
}
