// Light or dark as the notebook is: JupyterLab, VS Code and marimo say so on the body or the root.

function theme(): 'light' | 'dark' | '' {
  const { body, documentElement: root } = document
  const jupyter = body.dataset.jpThemeLight
  if (jupyter !== undefined) return jupyter === 'false' ? 'dark' : 'light'
  const vscode = body.dataset.vscodeThemeKind ?? ''
  if (vscode) return vscode.includes('dark') || vscode === 'vscode-high-contrast' ? 'dark' : 'light'
  for (const element of [body, root]) {
    if (element.classList.contains('dark')) return 'dark'
    if (element.classList.contains('light')) return 'light'
  }
  return ''
}

/** Keep the theme of an element; the answer stops it. */
export function followTheme(element: HTMLElement): () => void {
  const apply = () => {
    const now = theme()
    if (now) element.dataset.theme = now
    else delete element.dataset.theme
  }
  apply()
  const watch = new MutationObserver(apply)
  for (const target of [document.body, document.documentElement]) watch.observe(target, { attributes: true })
  return () => watch.disconnect()
}
