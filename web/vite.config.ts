// Three shells around one library of components, built one after the other into one folder:
// the studio's page, the notebook widget (one module), and the script of the report (one module).
import { svelte } from '@sveltejs/vite-plugin-svelte'
import { fileURLToPath } from 'node:url'
import { defineConfig, type UserConfig } from 'vite'

const here = (path: string) => fileURLToPath(new URL(path, import.meta.url))
const out = process.env.SEEWHY_WEB_OUT ?? here('../src/seewhy/studio/bundle')

// `npm run dev` serves the page from its sources and asks this studio, started with --no-browser --port 8765.
const studio = process.env.SEEWHY_STUDIO ?? 'http://127.0.0.1:8765'

/** Short names for the scopes of styles. */
const scopes = new Map<string, string>()
function cssHash({ hash, filename = '' }: { hash: (text: string) => string; filename?: string }) {
  const file = filename.split('/src/').at(-1)!
  const name = `s${hash(file).slice(0, 3)}`
  if ((scopes.get(name) ?? file) !== file) throw new Error(`${file} and ${scopes.get(name)}: rename one`)
  scopes.set(name, file)
  return name
}

/** One module without imports, its styles inside. */
const single = (name: string): UserConfig => ({
  plugins: [svelte({ compilerOptions: { css: 'injected' }, emitCss: false })],
  build: {
    outDir: `${out}/${name}`,
    emptyOutDir: true,
    target: 'es2022',
    lib: { entry: here(`src/${name}/main.ts`), formats: ['es'], fileName: () => `${name}.js` },
  },
})

export default defineConfig(({ mode }): UserConfig => {
  if (mode === 'widget' || mode === 'report') return single(mode)
  return {
    root: here('src/studio'),
    base: './',
    plugins: [svelte({ compilerOptions: { cssHash } })],
    server: { proxy: { '/api': { target: studio, changeOrigin: true, headers: { origin: studio } } } },
    build: {
      outDir: `${out}/studio`,
      emptyOutDir: true,
      target: 'es2022',
      modulePreload: { polyfill: false },
      // One script: it comes from this machine, and compresses better than its parts.
      rolldownOptions: { output: { codeSplitting: false } },
      cssCodeSplit: false,
    },
  }
})
