// Clicks through each view of the page in a browser, in light and dark, wide and as on a phone, and prints what is wrong, a
// line each: console messages, errors, dialogs, requests to elsewhere, faults that axe-core finds, pages that are too wide.
//
//   node browse.mjs CHROMIUM URL [DIRECTORY FOR PICTURES] < token
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { chromium } from 'playwright-core'

const [executablePath, base, pictures] = process.argv.slice(2)
const token = readFileSync(0, 'utf8').trim()
const axe = readFileSync(new URL('./node_modules/axe-core/axe.min.js', import.meta.url), 'utf8')
const views = []
let where = ''
const wrong = (text) => console.log(`wrong: ${where}: ${text}`)

const browser = await chromium.launch({ executablePath, args: ['--no-sandbox', '--disable-background-networking'] })
for (const colorScheme of ['light', 'dark']) {
  for (const width of [1280, 390]) {
    const context = await browser.newContext({ colorScheme, viewport: { width, height: 800 }, timezoneId: 'Asia/Kathmandu', reducedMotion: 'reduce' })
    const page = await context.newPage()
    page.setDefaultTimeout(15_000)
    page.on('console', (message) => wrong(`the console says ${message.type()}: ${message.text()}`))
    page.on('pageerror', (error) => wrong(`error: ${error.message}`))
    page.on('dialog', (dialog) => { wrong(`a dialog: ${dialog.message()}`); dialog.dismiss() })
    page.on('request', (request) => { if (new URL(request.url()).origin !== new URL(base).origin) wrong(`a request to ${request.url()}`) })
    page.on('response', (response) => { if (response.status() >= 400) wrong(`${response.status()} for ${response.url()}`) })

    // look checks the view that is open.
    const look = async (name) => {
      where = `${name}, ${colorScheme}, ${width} wide`
      await page.waitForLoadState('load')
      if (await page.evaluate(() => document.documentElement.scrollWidth > innerWidth)) wrong('it is wider than the window')
      const { violations, passes } = await page.evaluate(`${axe}; axe.run(document, { resultTypes: ['violations', 'passes'] })`)
      if (passes.length < 5) wrong('axe-core has looked at next to nothing')
      for (const fault of violations.filter((one) => one.impact === 'serious' || one.impact === 'critical')) {
        wrong(`${fault.id}: ${fault.help}: ${fault.nodes.slice(0, 3).map((node) => node.html).join(' ')}`)
      }
      await page.evaluate(() => scrollTo(0, 0))
      if (pictures && (width > 1000 || name === 'overview')) {
        await page.screenshot({ path: join(pictures, `${name}${width > 1000 ? '' : '-phone'}-${colorScheme}.png`) })
      }
      views.push(name)
    }
    const open = async (text) => {
      where = `the link ${text}`
      await Promise.all([page.waitForNavigation(), page.locator('nav').getByRole('link', { name: text, exact: true }).click()])
    }

    await page.goto(`${base}/console/sessions`)
    await look('sign-in')
    await page.keyboard.type(token) // The field has the focus.
    await Promise.all([page.waitForNavigation(), page.keyboard.press('Enter')])

    await look('sessions')
    await page.getByRole('searchbox').fill('zebra')
    await Promise.all([page.waitForNavigation(), page.keyboard.press('Enter')])
    if (await page.locator('tbody tr').count() !== 1) wrong('the search finds another number of sessions than one')
    await Promise.all([page.waitForNavigation(), page.locator('tbody a').first().click()])
    for (const summary of await page.locator('.step summary').all()) await summary.click()
    await look('session')
    const result = page.locator('.result a').first()
    await result.click()
    if (await page.locator('.step:target').count() !== 1) wrong('the link to a result leads to no step')
    if (await page.locator('.agent .step').count() === 0) wrong('the sub-agent is no branch')
    await Promise.all([page.waitForNavigation(), page.locator('.step .line a').first().click()])
    for (const summary of await page.locator('section.body summary').all()) await summary.click()
    if (await page.locator('.verdict', { hasText: 'The records are what the bytes say.' }).count() !== 1) wrong('there is no verdict')
    await look('interception')

    await open('Overview')
    await look('overview')
    const plots = page.locator('.plot canvas')
    if (await plots.count() !== 2) wrong('there are no two plots')
    await page.locator('select[name=by]').selectOption('user')
    await page.locator('select[name=range]').selectOption('7d')
    await Promise.all([page.waitForNavigation(), page.getByRole('button', { name: 'Show' }).click()])
    if (!page.url().includes('range=7d') || page.url().includes('from=')) wrong(`the form leads to ${page.url()}`)
    await page.locator('.u-over').first().scrollIntoViewIfNeeded()
    const box = await page.locator('.u-over').first().boundingBox()
    await page.mouse.move(box.x + box.width - 12, box.y + box.height - 10)
    if (!/\$/.test(await page.locator('.told').first().textContent())) wrong('the plot tells nothing of a day')
    await Promise.all([page.waitForNavigation(), page.mouse.click(box.x + box.width - 12, box.y + box.height - 10)])
    if (!page.url().includes('/console/interceptions?')) wrong(`a day leads to ${page.url()}`)
    await look('interceptions')
    await page.goBack()
    await page.getByText('Days as a table').click()
    const [download] = await Promise.all([page.waitForEvent('download'), page.getByRole('link', { name: 'Models as CSV' }).click()])
    if (!/\.csv$/.test(download.suggestedFilename())) wrong(`a file is called ${download.suggestedFilename()}`)
    await Promise.all([page.waitForNavigation(), page.getByRole('link', { name: 'all', exact: true }).first().click()])
    await look('usage')
    for (const [link, name] of [['Budgets', 'budgets'], ['Live', 'live'], ['Health', 'health'], ['Access log', 'access']]) {
      await open(link)
      await look(name)
    }
    where = 'sign out'
    await Promise.all([page.waitForNavigation(), page.getByRole('button', { name: 'Sign out' }).click()])
    await page.goBack()
    if (await page.locator('input[name=token]').count() !== 1) wrong('after signing out, Back shows something')
    await context.close()
  }
}
await browser.close()
console.log(`looked at ${views.length} views`)
