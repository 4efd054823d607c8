// What the server told about itself: models, photos, methods, layers, classes, metrics, the model's answer.

import { get, upload, post, type Schemas } from '../../lib/api/client'
import { provide } from '../../lib/paint'
import { Loaded, refusalOf } from './loaded.svelte'

type Of<Name extends keyof Schemas> = Schemas[Name]
const POLL = 350

const settled = (model: Of<'ModelState'>) =>
  model.state === 'failed' || (model.state === 'ready' && model.passes_per_second != null)

export class Session {
  about = new Loaded<Of<'About'>>()
  models = $state.raw<Of<'ModelState'>[]>([])
  images = $state.raw<Of<'ImageEntry'>[]>([])
  imagesReady = $state(false)
  methods = new Loaded<Of<'MethodEntry'>[]>()
  layers = new Loaded<Of<'LayerEntry'>[]>()
  labels = new Loaded<string[]>()
  metrics = new Loaded<Of<'MetricEntry'>[]>()
  predictions = new Loaded<Of<'Predictions'>>()

  async start() {
    await Promise.all([
      this.about.load('about', async (signal) => {
        const about = await get<Of<'About'>>('/api/about', signal)
        provide(about.colour_maps)
        return about
      }),
      get<Of<'ImageEntry'>[]>('/api/images')
        .then((images) => {
          this.images = images
          this.imagesReady = true
        })
        .catch(() => (this.imagesReady = true)),
    ])
    this.models = this.about.value?.models ?? []
    for (const model of this.models) if (!settled(model)) void this.await(model.id)
  }

  /** Ask until a model is there, and timed, or has failed. */
  private async await(id: string) {
    for (;;) {
      await new Promise((done) => setTimeout(done, POLL))
      try {
        const state = await get<Of<'ModelState'>>(`/api/models/${id}`)
        this.models = this.models.map((model) => (model.id === id ? state : model))
        if (settled(state)) return
      } catch (error) {
        const { found } = refusalOf(error)
        this.models = this.models.map((model) =>
          model.id === id ? { ...model, state: 'failed', error: found } : model,
        )
        return
      }
    }
  }

  model(id: string): Of<'ModelState'> | null {
    return this.models.find((model) => model.id === id) ?? null
  }

  /** Whether answers of a model may be asked for. */
  private awaited(id: string): boolean {
    const state = this.model(id)?.state
    return state === 'ready' || state === 'loading'
  }

  image(id: string | null): Of<'ImageEntry'> | null {
    return this.images.find((image) => image.id === id) ?? null
  }

  method(name: string): Of<'MethodEntry'> | null {
    return this.methods.value?.find((method) => method.name === name) ?? null
  }

  /** What goes with a model; the server answers once it is loaded. */
  follow(model: string) {
    if (!this.awaited(model)) return
    const path = `/api/models/${encodeURIComponent(model)}`
    const timed = this.model(model)?.passes_per_second != null
    // Again once a pass was timed: then they have prices.
    const keep = this.methods.key.startsWith(`${model} `)
    void this.methods.load(`${model} ${timed}`, (signal) => get(`${path}/methods`, signal), keep)
    void this.labels.load(model, (signal) => get(`${path}/labels`, signal))
  }

  /** The model's layers: a look at all of them, which takes the model longer than a quick map. */
  survey(model: string) {
    if (!this.awaited(model)) return
    const path = `/api/models/${encodeURIComponent(model)}/layers`
    void this.layers.load(model, (signal) => get(path, signal))
  }

  /** What maps can be measured by; asked for where somebody compares them. */
  measure() {
    void this.metrics.load('metrics', (signal) => get<Of<'MetricEntry'>[]>('/api/metrics', signal))
  }

  /** The model's answer to a photo. */
  answer(model: string, image: string | null) {
    if (!image || !this.awaited(model) || !this.image(image)) return
    const path = `/api/models/${encodeURIComponent(model)}/predictions/${encodeURIComponent(image)}`
    void this.predictions.load(`${model} ${image}`, (signal) => get(path, signal), true)
  }

  /** Bring a photo in; the server looks at its contents, not at its name. */
  async add(file: File): Promise<Of<'ImageEntry'>> {
    const entry = await upload<Of<'ImageEntry'>>(`/api/images?name=${encodeURIComponent(file.name)}`, file)
    this.keep([entry])
    return entry
  }

  /** Open photos below the roots. */
  async open(path: string): Promise<Of<'ImageEntry'>[]> {
    const entries = await post<Of<'ImageEntry'>[]>('/api/images/open', { path })
    this.keep(entries)
    return entries
  }

  private keep(entries: Of<'ImageEntry'>[]) {
    const known = new Set(this.images.map((image) => image.id))
    this.images = [...this.images, ...entries.filter((entry) => !known.has(entry.id))]
  }
}
