// Small pictures by photo, fetched once with the page's token and kept as addresses of this page.

import { blob } from '../../lib/api/client'

const known = new Map<string, Promise<string>>()

export function thumbnail(id: string): Promise<string> {
  let found = known.get(id)
  if (!found) {
    found = blob(`/api/images/${encodeURIComponent(id)}/thumbnail`).then((picture) =>
      URL.createObjectURL(picture),
    )
    found.catch(() => known.delete(id))
    known.set(id, found)
  }
  return found
}
