// Light, dark, or as the system has it. Kept in this browser.

const CHOICES = ['auto', 'light', 'dark'] as const
type Choice = (typeof CHOICES)[number]
const STORE = 'seewhy-theme'

class Theme {
  choice = $state<Choice>('auto')

  constructor() {
    const kept = localStorage.getItem(STORE)
    this.set(CHOICES.find((one) => one === kept) ?? 'auto')
  }

  set(choice: Choice) {
    this.choice = choice
    if (choice === 'auto') delete document.documentElement.dataset.theme
    else document.documentElement.dataset.theme = choice
    localStorage.setItem(STORE, choice)
  }

  turn() {
    this.set(CHOICES[(CHOICES.indexOf(this.choice) + 1) % CHOICES.length] ?? 'auto')
  }
}

export const theme = new Theme()
