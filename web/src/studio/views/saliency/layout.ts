// How wide panels are: as large as the window allows, in as few rows as keep them readable.

const GAP = 16
/** Least width of a panel; more than three rather take a second row than be as narrow. */
const LEAST = 228
const LEAST_OF_MANY = 300
/** What stands above and below a panel's picture. */
const AROUND = 250

export function panelWidth(count: number, width: number, height: number, aspect: number): number {
  const least = count > 3 ? LEAST_OF_MANY : LEAST
  const tall = Math.max((height - AROUND) * aspect, LEAST)
  for (let rows = 1; rows <= count; rows++) {
    const columns = Math.ceil(count / rows)
    const wide = Math.floor((width - GAP * (columns - 1)) / columns)
    if (wide >= least || columns === 1) return Math.max(Math.min(wide, tall, 960), Math.min(LEAST, width))
  }
  return Math.min(LEAST, width)
}
