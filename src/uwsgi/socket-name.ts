// How uWSGI writes addresses: `host:port`, `:port` for every address of the machine, or a path.

/** Returns the address in the form of our own settings. */
export function toAddressText(name: string): string {
  if (name.startsWith('/')) return `unix:${name}`
  return name.startsWith(':') ? `0.0.0.0${name}` : name
}
