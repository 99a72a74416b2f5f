// Writes the prices of a pinned package as the table that is embedded in the program: `make prices` runs it.
import { findProvider } from '@pydantic/genai-prices'
import { readFileSync } from 'node:fs'

// The providers that a gateway may stand before, and those that some of them resell.
const providers = [
  'anthropic', 'openai', 'aws', 'azure', 'google', 'openrouter', 'github-copilot', 'x-ai', 'deepseek', 'groq', 'mistral',
  'fireworks', 'together', 'cerebras', 'moonshotai', 'perplexity', 'cohere', 'zai', 'zhipuai', 'minimax', 'novita', 'baseten',
]

// Go's regular expressions have no look-ahead. A pattern that is nothing but a negative one at the beginning is written
// as "not".
function match(rule) {
  const [[kind, value]] = Object.entries(rule)
  if (Array.isArray(value)) return { [kind]: value.map(match) }
  if (kind !== 'regex') return { [kind]: value.toLowerCase() }
  const negative = /^\^\(\?!(.*)\)$/.exec(value)
  if (negative) return { not: { regex: `^${negative[1]}` } }
  if (value.includes('(?!') || value.includes('(?=') || value.includes('(?<')) throw new Error(`regular expression ${value}`)
  return { regex: value }
}

// The period of a price: it holds from a date, or at some time of each day. One without either always holds.
function period(constraint) {
  if (!constraint) return {}
  if (constraint.start_date) return { from: constraint.start_date }
  if (constraint.start_time) return { daily_from: constraint.start_time, daily_to: constraint.end_time }
  throw new Error(`constraint ${JSON.stringify(constraint)}`)
}

function model(m) {
  const rows = Array.isArray(m.prices) ? m.prices : [{ prices: m.prices }]
  return { id: m.id, match: match(m.match), rows: rows.map((row) => ({ ...period(row.constraint), prices: row.prices })) }
}

function provider(id) {
  const p = findProvider({ providerId: id })
  if (p?.id !== id) throw new Error(`provider ${id} is not in the package`)
  return { id, address: p.api_pattern, fallback: p.fallback_model_providers, models: p.models.map(model) }
}

const from = JSON.parse(readFileSync(new URL('package.json', import.meta.url))).dependencies
const lines = providers.map((id) => {
  const { models, ...head } = provider(id)
  const rows = models.map((m) => JSON.stringify(m)).join(',\n')
  return `${JSON.stringify(head).slice(0, -1)},"models":[\n${rows}\n]}`
})
process.stdout.write(`{"source":"@pydantic/genai-prices ${from['@pydantic/genai-prices']}","providers":[\n${lines.join(',\n')}\n]}\n`)
