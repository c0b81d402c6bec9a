// A machine on paper, for tests of doctor: files with their texts and owners, and processes.

import type { FileStatus, Machine } from '../../src/doctor/machine.ts'

export interface PaperFile {
  readonly text?: string
  readonly kind?: FileStatus['kind']
  readonly uid?: number
  readonly gid?: number
  readonly mode?: number
  readonly link?: string
  /** Whether this user cannot see it. */
  readonly isHidden?: boolean
}

export type Paper = Readonly<Record<string, string | PaperFile>>

const PASSWD = `root:x:0:0:root:/root:/bin/bash
www-data:x:33:33:www-data:/var/www:/usr/sbin/nologin
tlscached:x:990:990::/:/usr/sbin/nologin
`
const GROUP = `root:x:0:
www-data:x:33:
tlscached:x:990:
keys:x:991:tlscached
`

/** What every machine has here, unless a test says otherwise. */
const USUAL: Paper = {
  '/etc/passwd': PASSWD,
  '/etc/group': GROUP,
  '/proc/sys/net/core/rmem_max': '4194304\n',
  '/proc/sys/kernel/core_pattern': 'core\n',
  '/proc/swaps': 'Filename\t\t\t\tType\t\tSize\t\tUsed\t\tPriority\n',
  '/proc/meminfo': 'MemTotal:       16000000 kB\nMemFree:         1000000 kB\n',
  '/proc/self/limits': limitsText({}),
  '/proc/self/cgroup': '0::/\n',
}

export function paperMachine(files: Paper = {}, uid = 0): Machine {
  const all: Paper = { ...USUAL, ...files }
  const fileAt = (path: string): PaperFile | undefined => {
    const file = all[path]
    return typeof file === 'string' ? { text: file } : file
  }
  return {
    uid,
    read: (path) => fileAt(path)?.text,
    status(path) {
      const file = fileAt(path)
      if (file?.isHidden) return 'hidden'
      const isFolder = Object.keys(all).some((name) => name.startsWith(`${path}/`))
      if (file === undefined && !isFolder) return 'missing'
      const { kind = isFolder ? 'folder' : 'file', uid: owner = 0, gid = 0 } = file ?? {}
      return { kind, uid: owner, gid, mode: file?.mode ?? (kind === 'folder' ? 0o755 : 0o644) }
    },
    list(path) {
      const inside = Object.keys(all).filter((name) => name.startsWith(`${path}/`))
      return [
        ...new Set(inside.map((name) => name.slice(path.length + 1).split('/')[0] ?? '')),
      ].sort()
    },
    linkAt: (path) => fileAt(path)?.link,
  }
}

export interface PaperProcess {
  readonly args: readonly string[]
  readonly exe?: string
  readonly uid?: number
  readonly parentPid?: number
  readonly limits?: string
  readonly cgroup?: string
  readonly more?: Paper
}

/** The files of /proc of a process. */
export function processFiles(pid: number, made: PaperProcess): Paper {
  const { args, exe, uid = 0, parentPid = 1, limits = limitsText({}), cgroup = '0::/\n' } = made
  const status = `Name:\t${args[0]}\nPPid:\t${parentPid}\nUid:\t${uid}\t${uid}\t${uid}\t${uid}\n`
  return {
    [`/proc/${pid}/cmdline`]: `${args.join('\0')}\0`,
    [`/proc/${pid}/status`]: status,
    [`/proc/${pid}/limits`]: limits,
    [`/proc/${pid}/cgroup`]: cgroup,
    ...(exe !== undefined && { [`/proc/${pid}/exe`]: { link: exe } }),
    ...made.more,
  }
}

/** The text of /proc/PID/limits, as Linux 6 writes it. */
export function limitsText(changed: Readonly<Record<string, readonly [string, string]>>): string {
  const limits = {
    'Max core file size': ['0', 'unlimited'],
    'Max open files': ['1024', '524288'],
    'Max address space': ['unlimited', 'unlimited'],
    ...changed,
  }
  const rows = Object.entries(limits).map(([name, [soft = '', hard = '']]) => {
    return `${name.padEnd(25)} ${soft.padEnd(20)} ${hard.padEnd(20)} bytes     `
  })
  const head = 'Limit                     Soft Limit           Hard Limit           Units     '
  return `${[head, ...rows].join('\n')}\n`
}
