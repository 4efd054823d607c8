// Fields of a form from the parameters of a method or metric: reading what is typed, saying what is wrong,
// telling what differs from the default. No parameter of any method is named here.

import type { Schemas } from '../../lib/api/client'

export type Parameter = Schemas['Parameter']
export type Control = 'choice' | 'switch' | 'number' | 'text'
export type Typed = { value: unknown } | { problem: string }

export const controlOf = (parameter: Parameter): Control => {
  if (parameter.choices?.length) return 'choice'
  if (parameter.type === 'boolean') return parameter.optional ? 'choice' : 'switch'
  return parameter.type === 'integer' || parameter.type === 'number' ? 'number' : 'text'
}

/** The words of a choice, the empty one for "nothing" included. */
export function choicesOf(parameter: Parameter): string[] {
  const choices = parameter.choices ?? (parameter.type === 'boolean' ? ['true', 'false'] : [])
  return parameter.optional ? ['', ...choices] : choices
}

export const labelOf = (name: string) => {
  const words = name.replaceAll('_', ' ')
  return words.charAt(0).toUpperCase() + words.slice(1)
}

/** A value as the form shows it. */
export function textOf(value: unknown): string {
  if (value === null || value === undefined) return ''
  if (Array.isArray(value)) return value.map(textOf).join(', ')
  return typeof value === 'object' ? JSON.stringify(value) : String(value)
}

const numeric = (text: string) =>
  text.trim() === '' ? NaN : Number(text.trim().replace(/(?<=\d)[,_ ](?=\d{3}\b)/g, ''))

/** What was typed, as the value that the server takes, or what is wrong with it. */
export function typed(parameter: Parameter, text: string): Typed {
  const found = text.trim()
  if (found === '') return parameter.optional ? { value: null } : { problem: 'A value is needed' }
  if (parameter.type === 'boolean') return { value: found === 'true' }
  if (parameter.choices?.length)
    return parameter.choices.includes(found)
      ? { value: found }
      : { problem: `One of ${parameter.choices.join(', ')}` }
  if (parameter.type === 'list') {
    const items = found.split(/[\s,;]+/).filter(Boolean)
    return { value: items.every((item) => !Number.isNaN(Number(item))) ? items.map(Number) : items }
  }
  if (parameter.type === 'string') return { value: found }
  const value = numeric(found)
  if (!Number.isFinite(value)) return { problem: 'A number is needed' }
  if (parameter.type === 'integer' && !Number.isInteger(value)) return { problem: 'A whole number is needed' }
  const { minimum, maximum } = parameter
  if (minimum != null && value < minimum) return { problem: `At least ${minimum}` }
  if (maximum != null && value > maximum) return { problem: `At most ${maximum}` }
  return { value }
}

const same = (a: unknown, b: unknown) => JSON.stringify(a ?? null) === JSON.stringify(b ?? null)

/** Values that differ from the defaults, and belong to a parameter at all. */
export function changes(
  parameters: readonly Parameter[],
  values: Record<string, unknown>,
): Record<string, unknown> {
  const kept: Record<string, unknown> = {}
  for (const parameter of parameters)
    if (parameter.name in values && !same(values[parameter.name], parameter.default))
      kept[parameter.name] = values[parameter.name]
  return kept
}

export const isChanged = (parameter: Parameter, value: unknown) =>
  value !== undefined && !same(value, parameter.default)

/** What is allowed, in words. */
export function range(parameter: Parameter): string {
  const { minimum, maximum } = parameter
  if (minimum != null && maximum != null) return `${minimum} to ${maximum}`
  if (minimum != null) return `at least ${minimum}`
  if (maximum != null) return `at most ${maximum}`
  return ''
}
