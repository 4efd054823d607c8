// Which part of the inspector is open; keys may open one.

export const TABS = [
  { id: 'method', text: 'Method', title: 'What it is, what it costs, its parameters' },
  { id: 'look', text: 'Look', title: 'How maps are drawn' },
  { id: 'export', text: 'Export', title: 'Command, Python, pictures, numbers' },
] as const

class Open {
  tab = $state<(typeof TABS)[number]['id']>('method')
}

export const inspector = new Open()
