// Forms follow from parameters alone: what is typed becomes what the server takes, or a plain word of what is wrong.
import { describe, expect, it } from 'vitest'
import {
  changes,
  choicesOf,
  controlOf,
  isChanged,
  range,
  textOf,
  typed,
  type Parameter,
} from '../../src/studio/state/form'

const parameter = (part: Partial<Parameter>): Parameter =>
  ({
    name: 'masks',
    type: 'integer',
    default: 4000,
    optional: false,
    choices: null,
    minimum: null,
    maximum: null,
    help: '',
    ...part,
  }) as Parameter

describe('form', () => {
  it('chooses a control by type', () => {
    expect(controlOf(parameter({}))).toBe('number')
    expect(controlOf(parameter({ type: 'boolean', default: true }))).toBe('switch')
    expect(controlOf(parameter({ type: 'boolean', default: null, optional: true }))).toBe('choice')
    expect(controlOf(parameter({ type: 'string', choices: ['a', 'b'] }))).toBe('choice')
    expect(controlOf(parameter({ type: 'list' }))).toBe('text')
    expect(choicesOf(parameter({ type: 'string', choices: ['a'], optional: true }))).toEqual(['', 'a'])
  })

  it('reads numbers, and says what is wrong with others', () => {
    expect(typed(parameter({}), '500')).toEqual({ value: 500 })
    expect(typed(parameter({}), '4,000')).toEqual({ value: 4000 })
    expect(typed(parameter({}), '1e3')).toEqual({ value: 1000 })
    expect(typed(parameter({ type: 'number' }), ' 0.25 ')).toEqual({ value: 0.25 })
    for (const wrong of ['', 'x', '1.5', 'Infinity', 'NaN'])
      expect(typed(parameter({}), wrong)).toHaveProperty('problem')
    expect(typed(parameter({ minimum: 1 }), '0')).toEqual({ problem: 'At least 1' })
    expect(typed(parameter({ maximum: 9 }), '10')).toEqual({ problem: 'At most 9' })
  })

  it('reads nothing as null only where that is allowed', () => {
    expect(typed(parameter({ optional: true }), '')).toEqual({ value: null })
    expect(typed(parameter({ type: 'string' }), '')).toHaveProperty('problem')
  })

  it('reads lists of numbers and of words', () => {
    expect(typed(parameter({ type: 'list' }), '1, 2;3 4')).toEqual({ value: [1, 2, 3, 4] })
    expect(typed(parameter({ type: 'list' }), 'a, 2')).toEqual({ value: ['a', '2'] })
    expect(textOf([1, [2, 3]])).toBe('1, 2, 3')
  })

  it('refuses what is no choice', () => {
    expect(typed(parameter({ type: 'string', choices: ['a', 'b'] }), 'c')).toEqual({ problem: 'One of a, b' })
  })

  it('sends only what differs from the defaults and belongs to the method', () => {
    const parameters = [
      parameter({}),
      parameter({ name: 'size', type: 'list', default: [7, 7] }),
      parameter({ name: 'fill', default: null }),
    ]
    expect(changes(parameters, { masks: 4000, size: [7, 7], fill: null, other: 1 })).toEqual({})
    expect(changes(parameters, { masks: 5, size: [7, 8] })).toEqual({ masks: 5, size: [7, 8] })
    expect(isChanged(parameters[0]!, undefined)).toBe(false)
    expect(isChanged(parameters[0]!, 5)).toBe(true)
  })

  it('says what is allowed', () => {
    expect(range(parameter({ minimum: 0, maximum: 1 }))).toBe('0 to 1')
    expect(range(parameter({}))).toBe('')
  })
})
