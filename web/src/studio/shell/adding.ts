// Photos brought in by hand: one after the other, a refusal of one does not stop the rest.

import type { Studio } from '../state/studio.svelte'

export async function add(studio: Studio, files: Iterable<File>): Promise<void> {
  let last = ''
  let added = 0
  const most = studio.session.about.value?.max_upload ?? Infinity
  for (const file of files) {
    studio.notices.say(`Reading ${file.name} …`)
    try {
      if (file.size > most) {
        studio.notices.list = [
          ...studio.notices.list,
          {
            id: Date.now() + Math.random(),
            refusal: {
              kind: 'TooLarge',
              asked: `Asked to read ${file.name}`,
              found: `It has ${(file.size / 1e6).toFixed(0)} MB`,
              do: `Photos may have up to ${(most / 1e6).toFixed(0)} MB: make it smaller`,
            },
          },
        ]
        continue
      }
      last = (await studio.session.add(file)).id
      added += 1
    } catch (error) {
      studio.notices.refuse(error)
    }
  }
  if (!added) return
  studio.notices.say(added === 1 ? 'Photo added' : `${added} photos added`)
  studio.show(last)
}

/** The photos among what was dropped or pasted. */
export const photosOf = (data: DataTransfer | null): File[] =>
  [...(data?.files ?? [])].filter(
    (file) => file.type.startsWith('image/') || /\.(jpe?g|png|webp|bmp|tiff?|gif)$/i.test(file.name),
  )
