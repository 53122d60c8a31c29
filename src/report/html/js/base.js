// What all parts of the page share: making elements, telling spans of time, the data. Text reaches the page by textContent alone.
const DATA = JSON.parse(document.getElementById('data').textContent);

const el = (tag, attributes, ...children) => {
  const made = document.createElement(tag);
  fill(made, attributes, children);
  return made;
};
const svg = (tag, attributes, ...children) => {
  const made = document.createElementNS('http://www.w3.org/2000/svg', tag);
  fill(made, attributes, children);
  return made;
};
const fill = (made, attributes, children) => {
  for (const [name, value] of Object.entries(attributes || {})) {
    if (value === false || value === null || value === undefined) continue;
    if (name.startsWith('on')) made.addEventListener(name.slice(2), value);
    else made.setAttribute(name, value === true ? '' : String(value));
  }
  for (const child of children.flat()) {
    if (child !== null && child !== undefined && child !== '') made.append(child);
  }
};

const clamp = (value, low, high) => Math.min(Math.max(value, low), high);
const several = (count, one, many) => `${count.toLocaleString('en')} ${count === 1 ? one : many}`;

/// A span in seconds as people say it: 1h43m37s, 250 ms.
const human = (seconds) => {
  if (seconds < 0) return `−${human(-seconds)}`;
  if (seconds === 0) return '0 s';
  if (seconds < 0.001) return `${+(seconds * 1e6).toFixed(0)} µs`;
  if (seconds < 1) return `${+(seconds * 1e3).toFixed(seconds < 0.1 ? 2 : 1)} ms`;
  if (seconds < 60) return `${+seconds.toFixed(3)} s`;
  let rest = Math.round(seconds);
  const parts = [];
  for (const [unit, length] of [['d', 86400], ['h', 3600], ['m', 60], ['s', 1]]) {
    if (rest >= length) {
      parts.push(`${Math.floor(rest / length)}${unit}`);
      rest %= length;
    }
  }
  return parts.join('');
};

/// Both notations: 5398.507 s (1h29m59s).
const span = (seconds) => (seconds < 60 ? human(seconds) : `${+seconds.toFixed(3)} s (${human(seconds)})`);

/// The state of the page that a link carries: #flow=tcp.3&q=text.
const address = {
  read: () => new URLSearchParams(location.hash.slice(1)),
  write(changes, step) {
    const now = address.read();
    for (const [name, value] of Object.entries(changes)) {
      if (value) now.set(name, value);
      else now.delete(name);
    }
    const hash = `#${now.toString()}`;
    if (hash === (location.hash || '#')) return;
    try {
      if (step) history.pushState(null, '', hash);
      else history.replaceState(null, '', hash);
    } catch {
      location.hash = hash;
    }
  },
};

const copyButton = (text) =>
  el('button', {
    type: 'button',
    class: 'copy quiet',
    'aria-label': `Copy: ${text}`,
    onclick: async (event) => {
      const button = event.currentTarget;
      try {
        await navigator.clipboard.writeText(text);
        button.textContent = 'Copied';
      } catch {
        // Where there is no clipboard the line is marked, to be copied by hand.
        const line = button.parentElement.querySelector('code');
        if (line) getSelection().selectAllChildren(line);
        button.textContent = 'Marked';
      }
      setTimeout(() => { button.textContent = 'Copy'; }, 1500);
    },
  }, 'Copy');
