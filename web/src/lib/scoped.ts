// The design tokens inside somebody else's page: for one element and what is in it, not for the page.

import tokens from './tokens.css?inline'

const scoped = tokens.replace(/:root(\[[^\]]*\])?\s*,/g, '')

/** Give an element the tokens; the style lies in its own document or shadow root, once. */
export function withTokens(element: HTMLElement) {
  element.classList.add('seewhy')
  const root = element.getRootNode()
  const home = root instanceof ShadowRoot ? root : document.head
  if (home.querySelector('style[data-seewhy]')) return
  const style = document.createElement('style')
  style.dataset.seewhy = ''
  style.textContent = scoped
  home.append(style)
}
