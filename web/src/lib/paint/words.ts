// Numbers and maps in words, by the rules of the Python package: the same numbers give the same text.

/** `value.toFixed(digits)`, but exact ties go to the even digit as they do in Python. */
export function fixed(value: number, digits: number): string {
  return evenTies(value.toFixed(digits), Math.abs(value).toFixed(100), digits, value)
}

/** The mantissa's two decimals and the exponent of `value`, ties to the even digit. */
function exponential(value: number): [mantissa: string, exponent: number] {
  const [mantissa = '0', power = '0'] = value.toExponential(2).split('e')
  const [exact = '0'] = Math.abs(value).toExponential(100).split('e')
  return [evenTies(mantissa, exact, 2, value), Number(power)]
}

/** JavaScript rounds an exact tie away from zero: take that back where the digit before was even. */
function evenTies(rounded: string, exact: string, digits: number, value: number): string {
  const point = exact.indexOf('.')
  const [kept, rest] = [exact.slice(0, point + 1 + digits), exact.slice(point + 1 + digits)]
  if (!/^50*$/.test(rest)) return rounded
  const down = digits ? kept : kept.slice(0, point)
  return Number(down.at(-1)) % 2 ? rounded : (value < 0 ? '-' : '') + down
}

const grouped = (text: string) => {
  const [whole = '', rest] = text.split('.')
  return whole.replace(/\B(?=(\d{3})+$)/g, ',') + (rest === undefined ? '' : `.${rest}`)
}
const trimmed = (text: string) => text.replace(/\.?0+$/, '')

/** Three significant digits: `0`, `0.0123`, `-4.5`, `1.2e-5`, `12,300`. */
export function number(value: number): string {
  if (!Number.isFinite(value)) return 'no number'
  if (value === 0) return '0'
  const [mantissa, exponent] = exponential(value)
  if (exponent < -4 || exponent > 5) return `${trimmed(mantissa)}e${exponent}`
  const text = fixed(value, Math.max(0, 2 - exponent))
  return grouped(text.includes('.') ? trimmed(text) : fixed(Number(`${mantissa}e${exponent}`), 0))
}

/** `0.5 %`, `41 %`, `< 0.1 %`. */
export function percent(fraction: number): string {
  if (fraction > 0 && fraction < 0.001) return '< 0.1 %'
  const shown = 100 * fraction
  const one = fixed(shown, 1)
  return shown < 10 && Number(one) % 1 ? `${one} %` : `${fixed(shown, 0)} %`
}

/** One sentence that says what a map of `width` columns shows. */
export function textTwin(values: ArrayLike<number>, width: number, signed: boolean): string {
  const mass = new Float64Array(values.length)
  let [total, against, top, low, peak] = [0, 0, -Infinity, Infinity, 0]
  for (let i = 0; i < mass.length; i++) {
    const v = Number.isFinite(values[i]) ? values[i]! : 0
    const m = signed ? Math.abs(v) : Math.max(v, 0)
    mass[i] = m
    total += m
    if (v < 0) against -= v
    if (m > top) [top, peak] = [m, i]
    if (m < low) low = m
  }
  if (total === 0) return 'The map is empty: no place counts.'
  if (top === low) return 'The map is flat: every place counts the same.'
  const [x, y] = [peak % width, Math.floor(peak / width)]
  const height = mass.length / width
  const where = `${y < height / 2 ? 'top' : 'bottom'} ${x < width / 2 ? 'left' : 'right'} quarter`
  mass.sort()
  let most = 0
  for (const m of mass.subarray(mass.length - Math.max(1, rint(mass.length / 10)))) most += m
  const said = `Peak at x ${x}, y ${y} (${where}); ${percent(most / total)} of the mass in 10 % of the area`
  return signed ? `${said}; ${percent(against / total)} of the mass is evidence against.` : `${said}.`
}

/** The nearest whole number; a half goes to the even one, as in NumPy and Python. */
export function rint(value: number): number {
  const low = Math.floor(value)
  const rest = value - low
  return rest < 0.5 ? low : rest > 0.5 ? low + 1 : low % 2 ? low + 1 : low
}

/** The text with units and separators kept on the line of what they follow. */
export const unbroken = (text: string): string => text.replace(/ (?=%|·|s\b)/g, '\u00a0')
