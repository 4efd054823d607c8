// Which two panels are held against each other in place: the active one and the next, or the one before the last.

export interface Place {
  slot: string
  index: number
  twin: boolean
}

/** Where the two stand in the list, the left one first; null: there is only one. */
export function pairOf(panels: readonly Place[], active: number): [left: number, right: number] | null {
  if (panels.length < 2) return null
  const at = Math.max(
    panels.findIndex(({ index }) => index === active),
    0,
  )
  const left = Math.min(at, panels.length - 2)
  return [left, left + 1]
}
