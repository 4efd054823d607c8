// The views of the studio: what the tabs call them, and their code, loaded when first shown.
// A view is a component that takes `{ studio }`.

import type { Component } from 'svelte'
import type { ViewName } from '../state/address'
import type { Studio } from '../state/studio.svelte'

export interface ViewEntry {
  id: ViewName
  text: string
  title: string
  /** Whether photos on the left choose what is shown, and the inspector on the right speaks of it. */
  photos: boolean
  inspector: boolean
  load: () => Promise<{ default: Component<{ studio: Studio }> }>
}

export const VIEW_LIST: readonly ViewEntry[] = [
  {
    id: 'saliency',
    text: 'Saliency',
    title: 'Where the model looked',
    photos: true,
    inspector: true,
    load: () => import('./saliency/SaliencyView.svelte'),
  },
  {
    id: 'compare',
    text: 'Compare',
    title: 'Methods by metrics over several photos',
    photos: true,
    inspector: false,
    load: () => import('./compare/CompareView.svelte'),
  },
  {
    id: 'run',
    text: 'Runs',
    title: 'Benchmarks: leaderboard, distributions, worst photos',
    photos: false,
    inspector: false,
    load: () => import('./run/RunView.svelte'),
  },
  {
    id: 'concepts',
    text: 'Concepts',
    title: 'What the model saw',
    photos: true,
    inspector: false,
    load: () => import('./concepts/ConceptsView.svelte'),
  },
]
