// The views of the studio: what the tabs call them, and their code.
// A view is a component that takes `{ studio }`.

import type { Component } from 'svelte'
import type { ViewName } from '../state/address'
import type { Studio } from '../state/studio.svelte'
import CompareView from './compare/CompareView.svelte'
import ConceptsView from './concepts/ConceptsView.svelte'
import RunView from './run/RunView.svelte'
import SaliencyView from './saliency/SaliencyView.svelte'

export interface ViewEntry {
  id: ViewName
  text: string
  title: string
  /** Whether photos on the left choose what is shown, and the inspector on the right speaks of it. */
  photos: boolean
  inspector: boolean
  shown: Component<{ studio: Studio }>
}

export const VIEW_LIST: readonly ViewEntry[] = [
  {
    id: 'saliency',
    text: 'Saliency',
    title: 'Where the model looked',
    photos: true,
    inspector: true,
    shown: SaliencyView,
  },
  {
    id: 'compare',
    text: 'Compare',
    title: 'Methods by metrics over several photos',
    photos: true,
    inspector: false,
    shown: CompareView,
  },
  {
    id: 'run',
    text: 'Runs',
    title: 'Benchmarks: leaderboard, distributions, worst photos',
    photos: false,
    inspector: false,
    shown: RunView,
  },
  {
    id: 'concepts',
    text: 'Concepts',
    title: 'What the model saw',
    photos: true,
    inspector: false,
    shown: ConceptsView,
  },
]
