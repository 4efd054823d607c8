// How the page asks its server: the token of the page's own address goes with every request, refusals become
// `Refused` with the server's words, streams become async iterators that end when they are aborted.

import type { components } from './schema'

export type Schemas = components['schemas']
export type Refusal = Pick<Schemas['ErrorEvent'], 'asked' | 'found' | 'do' | 'kind'>

/** An answer that is an error: what was asked, what was found, what to do. */
export class Refused extends Error {
  constructor(
    readonly status: number,
    readonly refusal: Refusal,
  ) {
    super([refusal.asked, refusal.found, refusal.do].filter(Boolean).join('. '))
  }
}

const token = () => new URLSearchParams(location.search).get('token') ?? ''

async function ask(method: string, path: string, body?: BodyInit, type?: string, signal?: AbortSignal) {
  const headers: Record<string, string> = { Authorization: `Bearer ${token()}` }
  if (type) headers['Content-Type'] = type
  let answer: Response
  try {
    answer = await fetch(path, {
      method,
      headers,
      body: body ?? null,
      signal: signal ?? null,
      cache: 'no-store',
    })
  } catch (error) {
    if (signal?.aborted) throw error
    throw new Refused(0, {
      kind: 'Unreachable',
      asked: 'Asked the studio’s server',
      found: 'It does not answer',
      do: 'Start `seewhy studio` again and open the address that it prints',
    })
  }
  if (answer.ok) return answer
  const said = (await answer.json().catch(() => null)) as { error?: Refusal } | null
  throw new Refused(
    answer.status,
    said?.error ?? {
      kind: 'Failed',
      asked: `Asked for ${path}`,
      found: `The server answered ${answer.status}`,
      do: '',
    },
  )
}

export async function get<T>(path: string, signal?: AbortSignal): Promise<T> {
  return (await (await ask('GET', path, undefined, undefined, signal)).json()) as T
}

export async function blob(path: string, signal?: AbortSignal): Promise<Blob> {
  return (await ask('GET', path, undefined, undefined, signal)).blob()
}

export async function post<T>(path: string, body: unknown, signal?: AbortSignal): Promise<T> {
  return (await (await ask('POST', path, JSON.stringify(body), 'application/json', signal)).json()) as T
}

export async function upload<T>(path: string, file: Blob): Promise<T> {
  return (await (await ask('POST', path, file, 'application/octet-stream')).json()) as T
}

export async function remove(path: string): Promise<void> {
  await ask('DELETE', path)
}

/** Ask for a stream of events; leaving the loop or aborting the signal ends it on the server, too. */
export async function* stream<E extends { event: string }>(
  path: string,
  body: unknown,
  signal?: AbortSignal,
): AsyncGenerator<E> {
  const answer = await ask('POST', path, JSON.stringify(body), 'application/json', signal)
  if (!answer.body) return
  const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader()
  let rest = ''
  try {
    for (;;) {
      const { done, value } = await reader.read()
      if (done) return
      rest += value
      const blocks = rest.split(/\r?\n\r?\n/)
      rest = blocks.pop() ?? ''
      for (const block of blocks) {
        const data = block
          .split(/\r?\n/)
          .filter((line) => line.startsWith('data:'))
          .map((line) => line.slice(5).trimStart())
          .join('\n')
        if (data) yield JSON.parse(data) as E
      }
    }
  } finally {
    await reader.cancel().catch(() => undefined)
  }
}
