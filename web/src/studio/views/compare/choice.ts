// What will be compared: the choice in the address, defaults where nothing is chosen, and what it costs.

import type { Schemas } from '../../../lib/api/client'
import type { View } from '../../state/address'
import type { Studio } from '../../state/studio.svelte'
import { duration, shortLabel } from '../../state/words'

export type MethodEntry = Schemas['MethodEntry']
export type MetricEntry = Schemas['MetricEntry']
export type CompareRequest = Schemas['CompareRequest']

/** In the address: nothing, as opposed to the default. */
export const NONE = 'none'
export const MOST_PHOTOS = 64
export const MOST_MAPS = 1024
/** Steps of metrics that edit step by step. */
export const STEPS = 28
/** Baseline maps that every metric is measured on, too. */
export const BASELINES = 3
/** Whether the class of the saliency view is explained, in the address. */
export const AIM = 'compare.aim'
/** What is compared where nothing is chosen: one or two of each kind that most people know. */
const KNOWN = ['grad_cam', 'layer_cam', 'gradient', 'integrated_gradients', 'lrp', 'occlusion', 'rise']
const FEW = 5
const USUAL = ['deletion', 'insertion']

/** Photos: those that are ticked, or all. */
export function chosenPhotos(view: View, images: readonly Schemas['ImageEntry'][]): Schemas['ImageEntry'][] {
  const ticked = images.filter(({ id }) => view.photos.includes(id))
  return (ticked.length ? ticked : images).slice(0, MOST_PHOTOS)
}

/** Methods: the chosen ones that fit; else a few well-known ones of different kinds, cheap ones first. */
export function chosenMethods(view: View, methods: readonly MethodEntry[]): MethodEntry[] {
  const fitting = methods.filter(({ fits }) => fits)
  if (view.methods.length) return fitting.filter(({ name }) => view.methods.includes(name))
  const known = KNOWN.flatMap((name) => fitting.find((method) => method.name === name) ?? [])
  const cheap = known.filter(({ autorun }) => autorun)
  const usual = [...cheap, ...known.filter((method) => !cheap.includes(method))]
  const taken = (usual.length ? usual : fitting).slice(0, FEW)
  return fitting.filter((method) => taken.includes(method))
}

/** Metrics: the chosen ones that can be had; else deletion and insertion. */
export function chosenMetrics(view: View, metrics: readonly MetricEntry[]): MetricEntry[] {
  const names = view.metrics.length ? view.metrics : USUAL
  return metrics.filter(({ name, reason }) => !reason && names.includes(name))
}

/** All of a choice. */
export interface Chosen {
  photos: Schemas['ImageEntry'][]
  methods: MethodEntry[]
  metrics: MetricEntry[]
  /** The class of the saliency view in words: "tabby rather than lynx". */
  aim: string
  /** What is asked for: a class, or null for each photo's own answer. */
  target: string | null
}

/** The choice that the address keeps, in full. */
export function chosenOf(studio: Studio): Chosen {
  const { view, session } = studio
  const target = view.extra[AIM] === 'chosen' ? studio.target : null
  const versus = view.versus === null ? '' : ` rather than ${shortLabel(studio.labelOf(view.versus))}`
  return {
    photos: chosenPhotos(view, session.images),
    methods: chosenMethods(view, session.methods.value ?? []),
    metrics: chosenMetrics(view, session.metrics.value ?? []),
    aim: shortLabel(studio.labelOf(view.target)) + versus,
    target,
  }
}

/** Why a choice cannot be compared, or "". */
export function obstacle({ photos, methods }: Pick<Chosen, 'photos' | 'methods'>): string {
  if (!photos.length) return 'There is no photo yet: add some on the left'
  if (!methods.length) return 'Choose at least one method'
  const maps = photos.length * methods.length
  return maps > MOST_MAPS
    ? `${maps} maps are more than one comparison holds (${MOST_MAPS}): choose fewer, or run seewhy benchmark`
    : ''
}

export interface Price {
  seconds: number
  /** Names of what has no price. */
  unknown: string[]
}

/** What a comparison costs if nothing is kept from before. */
export function price(
  photos: number,
  methods: readonly MethodEntry[],
  metrics: readonly MetricEntry[],
  rate: number | null | undefined,
): Price {
  const unknown = methods.filter(({ seconds }) => seconds === null).map(({ title }) => title)
  let seconds = methods.reduce((sum, method) => sum + (method.seconds ?? 0), 0)
  for (const metric of metrics) {
    if (metric.forward === null || !rate) unknown.push(metric.title)
    else seconds += ((methods.length + BASELINES) * metric.forward) / rate
  }
  return { seconds: photos * seconds, unknown }
}

const several = (n: number, one: string) => `${n} ${one}${n === 1 ? '' : 's'}`

/** "6 methods × 4 photos, about 40 s here" */
export function priceText(photos: number, methods: number, { seconds, unknown }: Price): string {
  const size = `${several(methods, 'method')} × ${several(photos, 'photo')}`
  const more = unknown.length
    ? `, more with ${unknown.length > 2 ? `${unknown.length} whose cost is not known before` : unknown.join(' and ')}`
    : ''
  return `${size}, ${unknown.length ? 'at least' : 'about'} ${duration(seconds)} here${more}`
}
