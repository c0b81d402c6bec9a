// An area that scrolls sideways when its content is too wide, with the keyboard too.

import type { ComponentChildren } from 'preact'

interface ScrollAreaProps {
  /** What screen readers call it; different from every other area of the page. */
  readonly label: string
  readonly children: ComponentChildren
}

export function ScrollArea({ label, children }: ScrollAreaProps) {
  return (
    // biome-ignore lint/a11y/noNoninteractiveTabindex: without it the arrow keys cannot scroll it
    <section class="scroll" tabIndex={0} aria-label={label}>
      {children}
    </section>
  )
}
