// What tests ask of a page, in the page. Lists hold what is wrong, named by `told`.
const every = selector => [...document.querySelectorAll(selector)];
const told = node => `${node.tagName}.${node.getAttribute("class") || ""} ${node.textContent.trim().slice(0, 40)}`;
const headings = () => every("h1, h2, h3, h4, h5, h6").map(node => Number(node.tagName[1]));
const lostLinks = () => every("a").map(node => node.getAttribute("href")).filter(to => !to.startsWith("#") || !document.getElementById(to.slice(1)));
const doubleIds = () => every("[id]").map(node => node.id).filter((id, place, all) => all.indexOf(id) !== place);
const invisible = selector => every(selector).filter(node => {
  const box = node.getBoundingClientRect();
  return !(box.width > 0 && box.height > 0) || !node.checkVisibility({visibilityProperty: true, contentVisibilityAuto: true});
}).map(told);
const unnamed = selector => every(selector).filter(node => !(node.getAttribute("aria-label") || node.alt || node.getAttribute("aria-hidden"))).map(told);
const openAll = () => every("details").forEach(node => { node.open = true; });
const operable = () => every("a, summary, .scroll, pre").filter(node => node.checkVisibility());
const hasOutline = node => node === document.body || parseFloat(getComputedStyle(node).outlineWidth) > 0;
// A node right of the window, unless something around it can be scrolled or hides what is too much.
const sticksOut = () => every("body *").filter(node => {
  if (node.getBoundingClientRect().right <= innerWidth + 1 || !node.checkVisibility()) return false;
  for (let up = node.parentElement; up; up = up.parentElement)
    if (getComputedStyle(up).overflowX !== "visible" && up.getBoundingClientRect().right <= innerWidth + 1) return false;
  return true;
}).map(told);

// Contrast as WCAG 2.1 has it (1.4.3).
const rgba = text => {
  const numbers = text.match(/[\d.]+/g).map(Number);
  return [...numbers.slice(0, 3), numbers.length > 3 ? numbers[3] : 1];
};
const over = ([r, g, b, alpha], behind) => [r, g, b].map((part, place) => alpha * part + (1 - alpha) * behind[place]);
const background = node => {
  const own = rgba(getComputedStyle(node).backgroundColor);
  return own[3] === 1 ? own.slice(0, 3) : over(own, node.parentElement ? background(node.parentElement) : [255, 255, 255]);
};
const luminance = parts => {
  const [r, g, b] = parts.map(part => part / 255).map(part => part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4);
  return 0.2126 * r + 0.7152 * g + 0.0722 * b;
};
const contrast = (one, other) => {
  const [high, low] = [luminance(one), luminance(other)].sort((a, b) => b - a);
  return (high + 0.05) / (low + 0.05);
};
// Of text in a drawing: the opaque shape that is drawn last below its middle, else what is behind the drawing.
const behindText = node => {
  const box = node.getBoundingClientRect(), x = box.x + box.width / 2, y = box.y + box.height / 2;
  const shapes = [...node.ownerSVGElement.querySelectorAll("rect, path")].filter(shape => {
    const at = shape.getBoundingClientRect(), style = getComputedStyle(shape);
    const solid = style.fill.startsWith("rgb") && rgba(style.fill)[3] * Number(style.opacity) * Number(style.fillOpacity) === 1;
    const below = shape.compareDocumentPosition(node) & Node.DOCUMENT_POSITION_FOLLOWING;
    return solid && below && at.left <= x && x <= at.right && at.top <= y && y <= at.bottom;
  });
  return shapes.length ? rgba(getComputedStyle(shapes.at(-1)).fill).slice(0, 3) : background(node.ownerSVGElement.parentElement);
};
const ownText = node => [...node.childNodes].some(child => child.nodeType === Node.TEXT_NODE && child.textContent.trim());
const faint = least => every("body *").filter(node => ownText(node) && node.tagName !== "title" && node.checkVisibility()).map(node => {
  const style = getComputedStyle(node), drawn = node.ownerSVGElement;
  const behind = drawn ? behindText(node) : background(node);
  const ink = over(rgba(drawn ? style.fill : style.color), behind);
  return [contrast(ink, behind), node];
}).filter(([ratio]) => ratio < least).map(([ratio, node]) => `${ratio.toFixed(2)} ${told(node)}`);
