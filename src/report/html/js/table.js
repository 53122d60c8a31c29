// Tables: sorted by their headers, filtered by words and by what the rows are marked with.
const ROWS_AT_ONCE = 200;
const tables = [];

const cellText = (cell) => (Array.isArray(cell) ? cell[0] : cell);
const cellValue = (cell) => (Array.isArray(cell) ? cell[1] : null);

const makeTable = (model, open) => {
  const section = document.getElementById(`table-${model.id}`);
  const body = section.querySelector('tbody');
  const headers = [...section.querySelectorAll('thead th')];
  const state = { words: '', marks: new Set(), column: -1, down: false, shown: ROWS_AT_ONCE };
  const name = (key) => (tables.length ? `${model.id}.${key}` : key);
  const keys = { words: name('q'), marks: name('v'), sort: name('sort') };
  const rows = model.rows.map((row, place) => ({
    ...row, place, words: `${row.id} ${row.cells.map(cellText).join(' ')}`.toLowerCase(), mark: cellText(row.cells[0]),
  }));
  const counts = new Map();
  for (const row of rows) counts.set(row.mark, (counts.get(row.mark) || 0) + 1);

  const search = el('input', {
    type: 'search', id: `filter-${model.id}`, autocomplete: 'off', spellcheck: 'false', placeholder: 'any words of a row',
    oninput: () => { state.words = search.value; changed(); },
  });
  const told = el('p', { class: 'told', role: 'status' });
  const buttons = [...counts].map(([mark, count]) => {
    const tone = rows.find((row) => row.mark === mark).tone;
    return el('button', {
      type: 'button', class: `chip tone-${tone}`, 'aria-pressed': 'false', 'data-mark': mark,
      onclick: () => { toggle(mark); changed(); },
    }, mark, ' ', el('span', { class: 'count' }, count.toLocaleString('en')));
  });
  const toggle = (mark) => {
    if (!state.marks.delete(mark)) state.marks.add(mark);
  };
  if (rows.length > 1) section.querySelector('.controls').append(
    el('label', { for: search.id }, 'Filter'), search,
    counts.size > 1 ? el('div', { class: 'chips', role: 'group', 'aria-label': `Show only, in ${model.title}` }, buttons) : '',
  );
  section.querySelector('.scroll').before(told);
  const more = el('button', { type: 'button', class: 'more', onclick: () => { state.shown += 1000; draw(); } });
  section.querySelector('.scroll').after(more);

  const header = (th, index) => {
    const press = () => {
      // Numbers are wanted from the largest on, words from the first.
      const first = model.columns[index].kind === 'number';
      state.down = state.column === index ? !state.down : first;
      state.column = index;
      changed();
    };
    const button = el('button', { type: 'button', class: 'sort', onclick: press }, th.textContent, el('span', { class: 'arrow', 'aria-hidden': 'true' }));
    th.replaceChildren(button);
    th.setAttribute('aria-sort', 'none');
  };
  headers.forEach(header);

  const wanted = () => {
    const words = state.words.toLowerCase().split(/\s+/).filter(Boolean);
    const kept = rows.filter((row) => (!state.marks.size || state.marks.has(row.mark)) && words.every((word) => row.words.includes(word)));
    if (state.column >= 0) {
      const sign = state.down ? -1 : 1;
      const numeric = model.columns[state.column].kind !== 'text';
      const key = (row) => {
        const cell = row.cells[state.column];
        const value = cellValue(cell);
        return numeric ? (value === null ? -Infinity : value) : cellText(cell).toLowerCase();
      };
      const keyed = kept.map((row) => [key(row), row]);
      // Where nothing is known stands last, whichever way.
      const none = (k) => k === -Infinity || k === '' || k === '–';
      keyed.sort(([a, one], [b, other]) => {
        if (none(a) !== none(b)) return none(a) ? 1 : -1;
        return (a < b ? -sign : a > b ? sign : 0) || one.place - other.place;
      });
      return keyed.map(([, row]) => row);
    }
    return kept;
  };

  const rowOf = (row) => {
    const cells = row.cells.map((cell, index) => {
      const column = model.columns[index];
      const text = cellText(cell);
      const classes = [column.kind === 'number' && 'number', column.wide && 'wide'].filter(Boolean).join(' ');
      let inner = text;
      if (index === 0) inner = el('span', { class: `badge tone-${row.tone}` }, text);
      if (index === 1) {
        inner = el('a', { href: `#flow=${encodeURIComponent(row.id)}`, onclick: (event) => { event.preventDefault(); open(row.id, true); } });
        text.split('\n').forEach((line, at) => inner.append(el('span', { class: at ? 'second' : 'first' }, line)));
      }
      return el(index === 1 ? 'th' : 'td', { class: classes || null, scope: index === 1 ? 'row' : null }, inner);
    });
    return el('tr', {
      'data-id': row.id, class: row.id === current.id ? 'chosen' : null,
      onclick: (event) => { if (!event.target.closest('a') && !String(getSelection())) open(row.id, true); },
    }, cells);
  };

  const draw = () => {
    const kept = wanted();
    body.replaceChildren(...kept.slice(0, state.shown).map(rowOf));
    if (!kept.length) body.append(el('tr', {}, el('td', { colspan: model.columns.length, class: 'none' }, 'Nothing matches.')));
    told.hidden = rows.length < 2;
    told.textContent = kept.length === rows.length ? `${several(rows.length, 'row', 'rows')}.` : `${kept.length.toLocaleString('en')} of ${several(rows.length, 'row', 'rows')}.`;
    more.hidden = kept.length <= state.shown;
    more.textContent = `Show more (${(kept.length - state.shown).toLocaleString('en')} left)`;
    headers.forEach((th, index) => {
      const sorted = index === state.column ? (state.down ? 'descending' : 'ascending') : 'none';
      th.setAttribute('aria-sort', sorted);
      th.querySelector('.arrow').textContent = { none: '', ascending: ' ▲', descending: ' ▼' }[sorted];
    });
    for (const button of buttons) button.setAttribute('aria-pressed', String(state.marks.has(button.dataset.mark)));
  };

  const changed = () => {
    state.shown = ROWS_AT_ONCE;
    address.write({
      [keys.words]: state.words, [keys.marks]: [...state.marks].join(','),
      [keys.sort]: state.column < 0 ? '' : `${state.column}${state.down ? 'd' : 'a'}`,
    }, false);
    draw();
  };

  const fromAddress = () => {
    const now = address.read();
    state.words = now.get(keys.words) || '';
    search.value = state.words;
    state.marks = new Set((now.get(keys.marks) || '').split(',').filter((mark) => counts.has(mark)));
    const sort = /^(\d+)([ad])$/.exec(now.get(keys.sort) || '');
    const column = sort ? Number(sort[1]) : -1;
    state.column = column < headers.length ? column : -1;
    state.down = Boolean(sort && sort[2] === 'd');
    draw();
  };

  tables.push({ model, draw, fromAddress, only: (mark) => { state.marks = new Set([mark]); changed(); section.scrollIntoView(); }, has: (mark) => counts.has(mark) });
  fromAddress();
};
