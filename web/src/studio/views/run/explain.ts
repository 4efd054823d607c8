// From a sample of a run to the saliency view: the same photo, method, parameters and class.

import type { Refusal } from '../../../lib/api/client'
import { refusalOf } from '../../state/loaded.svelte'
import type { View } from '../../state/address'
import type { Host } from '../parts/host'
import type { Board, Sample } from './board'

/** Open a sample's photo and show it; returns the refusal, null where all went well. */
export async function explainSample(
  host: Host,
  board: Board,
  method: string,
  sample: Sample,
): Promise<Refusal | null> {
  if (!sample.photo)
    return {
      kind: 'NotBelow',
      asked: `Asked for the photo of ${sample.sample}`,
      found: board.progress
        ? 'Photos have names once the run is finished'
        : 'It does not lie below the folders that the studio may read',
      do: board.progress ? 'Wait for it' : 'Start the studio with --root and the folder of the data',
    }
  try {
    const [image] = await host.session.open(sample.photo)
    if (!image) return null
    host.change(viewOf(board, method, sample, image.id))
    return null
  } catch (error) {
    return refusalOf(error)
  }
}

/** What the saliency view is to show. A baseline explains nothing: there the methods stay as they are. */
export function viewOf(board: Board, method: string, sample: Sample, image: string): Partial<View> {
  const chosen = board.methods.find((m) => m.label === method)
  const target = sample.index === null || sample.index === undefined ? null : String(sample.index)
  const common: Partial<View> = {
    view: 'saliency',
    image,
    target,
    versus: null,
    seed: board.seed,
    pin: null,
    ran: [],
    stopped: {},
  }
  if (!chosen?.name) return common
  return {
    ...common,
    slots: [chosen.name],
    active: 0,
    twins: [],
    parameters: Object.keys(chosen.parameters).length ? { [chosen.name]: { ...chosen.parameters } } : {},
  }
}
