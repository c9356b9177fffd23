// What a person would see of a page: evaluated in it, for a test to assert on.
(() => {
  for (const folded of document.querySelectorAll("details")) folded.open = true

  const rgba = (text) => {
    const [red, green, blue, alpha = 1] = text.match(/[\d.]+/g).map(Number)
    return { red, green, blue, alpha }
  }
  const over = (upper, lower, alpha = upper.alpha) => ({
    red: upper.red * alpha + lower.red * (1 - alpha),
    green: upper.green * alpha + lower.green * (1 - alpha),
    blue: upper.blue * alpha + lower.blue * (1 - alpha),
    alpha: 1,
  })
  const luminance = ({ red, green, blue }) => {
    const linear = [red, green, blue].map((part) => {
      const share = part / 255
      return share <= 0.04045 ? share / 12.92 : ((share + 0.055) / 1.055) ** 2.4
    })
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
  }
  const contrast = (one, other) => {
    const [light, dark] = [luminance(one), luminance(other)].sort((a, b) => b - a)
    return (light + 0.05) / (dark + 0.05)
  }
  const behind = (element) => {
    const layers = []
    for (let each = element; each; each = each.parentElement) layers.push(rgba(getComputedStyle(each).backgroundColor))
    return layers.reverse().reduce((lower, upper) => over(upper, lower), rgba("rgb(255, 255, 255)"))
  }

  const texts = []
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT)
  while (walker.nextNode()) {
    const [node, element] = [walker.currentNode, walker.currentNode.parentElement]
    if (!node.data.trim() || !element.checkVisibility()) continue
    if (element.closest("svg")) continue  // titles, which are shown when pointed at
    const paper = behind(element)
    texts.push({ text: node.data.trim(), contrast: contrast(over(rgba(getComputedStyle(element).color), paper), paper) })
  }
  const shapes = [...document.querySelectorAll("svg .bar, svg .part, svg .left, svg .mark, svg.icon")].map((shape) => {
    const style = getComputedStyle(shape)
    const [paper, paint] = [behind(shape), rgba(shape.matches(".icon") ? style.stroke : style.fill)]
    return { shape: shape.getAttribute("class"), contrast: contrast(over(paint, paper, Number(style.opacity)), paper) }
  })
  const ids = [...document.querySelectorAll("[id]")].map((element) => element.id)
  const wanted = [
    ...[...document.querySelectorAll("a[href]")].map((link) => link.getAttribute("href").slice(1)),
    ...[...document.querySelectorAll("[aria-labelledby]")].map((element) => element.getAttribute("aria-labelledby")),
  ]
  const heading = document.querySelector("h1").getBoundingClientRect()
  return {
    paper: luminance(behind(document.body)),
    first: document.body.innerText.trim().split("\n")[0],
    verdict: { title: document.querySelector("h1").innerText, top: heading.top, bottom: heading.bottom },
    headings: document.querySelectorAll("h1").length,
    texts,
    shapes,
    width: document.scrollingElement.scrollWidth,
    wide: [...document.querySelectorAll("body *")]
      .filter((element) => !element.closest(".scroll, svg") && element.getBoundingClientRect().right > innerWidth + 0.5)
      .map((element) => element.outerHTML.slice(0, 120)),
    twice: ids.filter((id, number) => ids.indexOf(id) !== number),
    dangling: wanted.filter((id) => !ids.includes(id)),
    foreign: [...document.querySelectorAll("script, img, iframe, object, embed, form, [onclick], [onload]")].length,
    unnamed: [...document.querySelectorAll("th:not([scope]), svg:not([aria-hidden], [aria-label], svg svg)")].length,
  }
})()
