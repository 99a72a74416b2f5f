// Takes the pictures of docs/console.md from a gateway that runs, with an administrator's token on its standard input.
//
//   node pictures.mjs CHROMIUM URL DIRECTORY < token
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { chromium } from 'playwright-core'

const [executablePath, base, directory] = process.argv.slice(2)
const token = readFileSync(0, 'utf8').trim()
const browser = await chromium.launch({ executablePath, args: ['--no-sandbox'] })
for (const colorScheme of ['light', 'dark']) {
  const context = await browser.newContext({ colorScheme, viewport: { width: 1100, height: 700 }, timezoneId: 'Europe/Berlin' })
  const page = await context.newPage()
  const take = (name) => page.screenshot({ path: join(directory, `${name}-${colorScheme}.png`) })
  await page.goto(`${base}/console/`)
  await page.fill('input[name=token]', token)
  await Promise.all([page.waitForNavigation(), page.keyboard.press('Enter')])
  for (const [name, path] of [['overview', ''], ['usage', 'usage?by=user'], ['sessions', 'sessions?q=test'], ['interceptions', 'interceptions'], ['budgets', 'budgets'], ['live', 'live'], ['health', 'health'], ['access', 'access']]) {
    await page.goto(`${base}/console/${path}`)
    await take(name)
  }
  await page.goto(`${base}/console/sessions?client=Claude+Code`)
  await Promise.all([page.waitForNavigation(), page.locator('tbody a').first().click()])
  for (const summary of (await page.locator('.step summary').all()).slice(0, 2)) await summary.click()
  await page.mouse.wheel(0, 330)
  await take('session')
  await Promise.all([page.waitForNavigation(), page.locator('.step .line a').first().click()])
  await take('interception')
  await context.close()
}
await browser.close()
