// The page comes to life: theme, tiles, the open flow, and what a link asks for.
const current = { id: null, life: null };
const root = document.documentElement;

const theme = () => {
  const dark = matchMedia('(prefers-color-scheme: dark)');
  const stored = () => { try { return localStorage.getItem('flowlapse-theme'); } catch { return null; } };
  const button = document.getElementById('theme');
  const now = () => root.dataset.theme || (dark.matches ? 'dark' : 'light');
  const show = () => {
    const other = now() === 'dark' ? 'Light' : 'Dark';
    button.textContent = other;
    button.setAttribute('aria-label', `${other} colours`);
  };
  const kept = stored();
  if (kept === 'dark' || kept === 'light') root.dataset.theme = kept;
  button.hidden = false;
  button.addEventListener('click', () => {
    root.dataset.theme = now() === 'dark' ? 'light' : 'dark';
    try { localStorage.setItem('flowlapse-theme', root.dataset.theme); } catch { /* A page without storage forgets the choice. */ }
    show();
  });
  dark.addEventListener('change', show);
  show();
};

const paragraphs = (host, texts, tag, attributes) => texts.forEach((text) => host.append(el(tag, attributes, text)));

const showDetail = (detail) => {
  const host = document.getElementById('life');
  const heading = el('h2', { id: 'life-title', tabindex: -1 }, el('span', { class: `badge tone-${detail.tone}` }, detail.badge), ' ', detail.name);
  host.replaceChildren(heading);
  host.hidden = false;
  paragraphs(host, detail.said, 'p', {});
  current.life = null;
  if (detail.life) {
    const place = el('div', { class: 'life' });
    host.append(place);
    current.life = makeLife(place, detail.life);
  } else if (detail.without) {
    host.append(el('p', { class: 'aside' }, detail.without));
  }
  if (detail.felt.length) {
    host.append(el('h3', {}, 'What each end felt'), el('dl', { class: 'felt' }, detail.felt.map((felt) => el('div', {}, el('dt', {}, felt.who), el('dd', {}, felt.text)))));
  }
  if (detail.cures.length) {
    host.append(el('h3', {}, 'What would have kept it'), el('ul', { class: 'cures' }, detail.cures.map((cure) => el('li', {}, el('div', { class: 'line' }, el('code', {}, cure.line), copyButton(cure.line)), cure.note ? el('p', {}, cure.note) : ''))));
  }
  if (detail.notes.length) host.append(el('h3', {}, 'To know before believing it'), el('ul', {}, detail.notes.map((note) => el('li', {}, note))));
  for (const more of detail.more) host.append(el('details', { open: more.open }, el('summary', {}, more.title), el('pre', { tabindex: 0 }, more.text)));
};

const rowOfId = (id) => {
  for (const { model } of tables) {
    const row = model.rows.find((one) => one.id === id);
    if (row) return row;
  }
  return null;
};

const open = (id, byHand) => {
  const row = rowOfId(id);
  if (!row) return false;
  current.id = id;
  const bare = { name: row.cells.map(cellText)[1].replace('\n', '  '), tone: row.tone, badge: cellText(row.cells[0]), said: [], felt: [], cures: [], notes: [], more: [], without: DATA.without };
  showDetail(row.detail === null ? bare : DATA.details[row.detail]);
  for (const table of document.querySelectorAll('tr[data-id]')) table.classList.toggle('chosen', table.dataset.id === id);
  if (byHand) {
    address.write({ flow: id }, true);
    const title = document.getElementById('life-title');
    title.focus({ preventScroll: true });
    title.scrollIntoView({ block: 'start' });
  }
  return true;
};

const start = () => {
  theme();
  for (const node of document.querySelectorAll('.controls')) node.hidden = false;
  DATA.tables.forEach((table) => makeTable(table, open));
  for (const tile of document.querySelectorAll('.tile[data-mark]')) {
    const table = tables.find((one) => one.has(tile.dataset.mark));
    if (!table) continue;
    const inner = el('button', { type: 'button', class: 'tile-button', onclick: () => table.only(tile.dataset.mark) });
    inner.append(...tile.childNodes);
    tile.append(inner);
  }
  DATA.charts.forEach((chart, index) => {
    const host = document.getElementById(`chart-${index}`);
    host.parentElement.hidden = false;
    if (chart.survival) drawSurvival(host, chart.survival);
    if (chart.occupancy) drawOccupancy(host, chart.occupancy);
  });
  for (const code of document.querySelectorAll('.command code')) code.after(copyButton(code.textContent));

  const first = () => { for (const { model } of tables) if (model.rows.length) return model.rows[0].id; return null; };
  const follow = (byHand) => {
    const asked = address.read().get('flow');
    if (asked && open(asked, false)) {
      if (byHand) document.getElementById('life-title').scrollIntoView({ block: 'start' });
      return;
    }
    if (current.id === null && first() !== null) open(first(), false);
  };
  follow(Boolean(address.read().get('flow')));
  addEventListener('hashchange', () => { tables.forEach((table) => table.fromAddress()); follow(false); });
  addEventListener('popstate', () => follow(false));

  const redraw = () => { if (current.life) current.life.draw(); charts.forEach((chart) => chart.draw()); };
  let wide = innerWidth;
  let waiting = 0;
  addEventListener('resize', () => {
    if (innerWidth === wide) return;
    wide = innerWidth;
    cancelAnimationFrame(waiting);
    waiting = requestAnimationFrame(redraw);
  });
  matchMedia('print').addEventListener('change', redraw);
  addEventListener('beforeprint', redraw);
  addEventListener('afterprint', redraw);
};

start();
