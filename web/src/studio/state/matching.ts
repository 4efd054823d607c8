// Which classes a typed text means: those that begin with it, then those with a word that does, then the rest.

export function matching(labels: readonly string[], text: string, most = 40): number[] {
  const wanted = text.trim().toLowerCase()
  if (!wanted) return []
  const found: [rank: number, index: number][] = []
  const asNumber = /^\d+$/.test(wanted) ? Number(wanted) : -1
  for (let index = 0; index < labels.length; index++) {
    const label = labels[index]!.toLowerCase()
    if (index === asNumber) found.push([-1, index])
    else if (label.startsWith(wanted)) found.push([0, index])
    else {
      const at = label.indexOf(wanted)
      if (at > 0) found.push([/[\s,(-]/.test(label[at - 1]!) ? 1 : 2, index])
    }
  }
  return found
    .sort((a, b) => a[0] - b[0] || a[1] - b[1])
    .slice(0, most)
    .map(([, index]) => index)
}
