// The charts of a page: how many flows each timer would keep, and what the boxes' tables hold over time.
const CHART = { left: 56, right: 16, bottom: 44, height: 300 };
const charts = [];

const frameChart = (host, title, keys) => {
  const picture = svg('svg', { class: 'chart', tabindex: 0, role: 'application', 'aria-roledescription': 'chart', 'aria-label': `${title}. ${keys}` });
  const frame = el('div', { class: 'picture' }, picture);
  const said = el('p', { class: 'readout', role: 'status', 'aria-live': 'polite' }, keys);
  host.append(frame, said);
  return { picture, frame, said };
};

/// A cursor that the pointer and the arrow keys move along the chart.
const withCursor = ({ picture }, count, act) => {
  let at = -1;
  const go = (index) => { at = clamp(index, 0, count - 1); act(at); };
  picture.addEventListener('keydown', (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const by = event.shiftKey ? 10 : 1;
    const to = { ArrowRight: at + by, ArrowLeft: at < 0 ? count - 1 : at - by, Home: 0, End: count - 1 }[event.key];
    if (to === undefined) return;
    event.preventDefault();
    go(to);
  });
  return go;
};

const grid = (content, width, top, bottom, values, y, label) => {
  for (const value of values) {
    content.append(svg('line', { class: 'gridline', x1: CHART.left, x2: width - CHART.right, y1: y(value), y2: y(value) }),
      svg('text', { class: 'tick', x: CHART.left - 7, y: y(value) + 4, 'text-anchor': 'end' }, label(value)));
  }
  content.append(svg('line', { class: 'axis', x1: CHART.left, x2: width - CHART.right, y1: bottom, y2: bottom }));
};

const LOG_TICKS = [0.001, 0.01, 0.1, 1, 10, 60, 300, 900, 3600, 14400, 86400, 604800, 2592000];

const drawSurvival = (host, model) => {
  const parts = frameChart(host, model.title, 'Left and right move along the timers.');
  const times = [...model.steps.map((step) => step[0]), ...model.marks.map((mark) => mark.at)].filter((t) => t > 0);
  // Of values that were tried one by one nothing is known before the first and beyond the last.
  const known = (t) => model.steps.length > 0 && (!model.sampled || (t >= model.steps[0][0] && t <= model.steps[model.steps.length - 1][0]));
  const low = Math.log(Math.max(0.001, Math.min(...times, 60)) / 1.6);
  const high = Math.log(Math.max(...times, 3600) * 1.6);
  const kept = (t) => {
    let share = 0;
    for (const [at, value] of model.steps) {
      if (at > t) break;
      share = value;
    }
    return share;
  };
  let cursor = -1;
  const STOPS = 240;
  const timeAt = (index) => Math.exp(low + ((high - low) * index) / (STOPS - 1));
  const strong = model.marks.filter((mark) => mark.strong);
  const draw = () => {
    const width = Math.max(280, parts.frame.clientWidth || 800);
    const x = (t) => CHART.left + ((Math.log(Math.max(t, 1e-9)) - low) / (high - low)) * (width - CHART.left - CHART.right);
    // The marks' names stand in rows above, the strong ones first; where there is no room they are left to the readout.
    const rows = [];
    const placed = [...model.marks].sort((a, b) => b.strong - a.strong || a.at - b.at).map((mark) => {
      const text = mark.strong && known(mark.at) ? `${mark.label} → keeps ${share(kept(mark.at))}` : mark.label;
      const wide = text.length * 6.3 + 8;
      const left = x(mark.at) + wide > width - 4 ? x(mark.at) - wide : x(mark.at);
      const row = [0, 1, 2, 3, 4, 5].find((n) => !(rows[n] || []).some(([a, b]) => left < b && left + wide > a));
      if (row === undefined || left < 0 || (width < 600 && !mark.strong)) return { mark, text: '' };
      (rows[row] = rows[row] || []).push([left, left + wide]);
      return { mark, text, left: left + 4, row };
    });
    const top = 16 + rows.length * 17;
    const bottom = CHART.height - CHART.bottom + rows.length * 17;
    const height = bottom + CHART.bottom;
    const y = (value) => bottom - (value / 100) * (bottom - top);
    const content = svg('g', {});
    grid(content, width, top, bottom, [0, 25, 50, 75, 100], y, (value) => `${value}%`);
    let free = -Infinity;
    LOG_TICKS.filter((t) => Math.log(t) > low && Math.log(t) < high).forEach((t) => {
      content.append(svg('line', { class: 'axis', x1: x(t), x2: x(t), y1: bottom, y2: bottom + 5 }));
      if (x(t) - free < 52) return;
      free = x(t);
      content.append(svg('text', { class: 'tick', x: x(t), y: bottom + 19, 'text-anchor': 'middle' }, human(t)));
    });
    content.append(svg('text', { class: 'tick', x: width - CHART.right, y: bottom + 37, 'text-anchor': 'end' }, model.across));
    for (const { mark, text, left, row } of placed) {
      content.append(svg('line', { class: mark.strong ? 'mark strong' : 'mark', x1: x(mark.at), x2: x(mark.at), y1: text ? top - 8 - row * 17 : top, y2: bottom }));
      if (text) content.append(svg('text', { class: mark.strong ? 'mark-word strong' : 'mark-word', x: left, y: top - 10 - row * 17 }, text));
    }
    const [first] = model.steps;
    let d = model.sampled && first ? `M${x(first[0]).toFixed(1)} ${y(first[1]).toFixed(1)}` : `M${CHART.left} ${y(0)}`;
    for (const [at, value] of model.steps) d += `H${x(at).toFixed(1)}V${y(value).toFixed(1)}`;
    content.append(svg('path', { class: 'curve', d: model.sampled ? d : `${d}H${width - CHART.right}` }));
    for (const mark of strong.filter((one) => known(one.at))) content.append(svg('circle', { class: 'point', cx: x(mark.at), cy: y(kept(mark.at)), r: 5 }));
    if (cursor >= 0 && known(timeAt(cursor))) {
      const t = timeAt(cursor);
      content.append(svg('path', { class: 'cursor', d: `M${x(t).toFixed(1)} ${top}V${bottom}` }), svg('circle', { class: 'point now', cx: x(t), cy: y(kept(t)), r: 5 }));
    }
    parts.picture.setAttribute('viewBox', `0 0 ${width} ${height}`);
    parts.picture.setAttribute('width', width);
    parts.picture.setAttribute('height', height);
    parts.picture.replaceChildren(content);
    parts.width = width;
  };
  const share = (value) => (value > 0 && value < 1 ? 'less than 1%' : value < 100 && value > 99 ? 'over 99%' : `${Math.round(value)}%`);
  const go = withCursor(parts, STOPS, (index) => {
    cursor = index;
    const t = timeAt(index);
    const timer = human(t < 60 ? +t.toPrecision(3) : Math.round(t));
    parts.said.textContent = known(t) ? `A timer of ${timer} keeps ${share(kept(t))} of the flows.` : `${timer} was not tried.`;
    draw();
  });
  parts.picture.addEventListener('pointermove', (event) => {
    const x = event.clientX - parts.picture.getBoundingClientRect().left;
    go(Math.round(((x - CHART.left) / (parts.width - CHART.left - CHART.right)) * (STOPS - 1)));
  });
  charts.push({ draw });
  draw();
};

const drawOccupancy = (host, model) => {
  const parts = frameChart(host, model.title, 'Left and right move along the time.');
  const totals = model.times.map((_, at) => model.counts.reduce((sum, row) => sum + row[at], 0));
  const most = Math.max(1, ...totals);
  const near = model.limit !== null && model.limit <= most * 4;
  const ceiling = Math.max(most, near ? model.limit : 0) * 1.06;
  const last = model.times[model.times.length - 1] || 1;
  const first = model.times[0] || 0;
  let cursor = -1;
  const step = [1, 2, 5].flatMap((n) => [0, 1, 2, 3, 4, 5, 6, 7, 8].map((p) => n * 10 ** p)).sort((a, b) => a - b).find((s) => s >= ceiling / 5) || ceiling;
  const draw = () => {
    const width = Math.max(280, parts.frame.clientWidth || 800);
    const [top, bottom, height] = [16, CHART.height - CHART.bottom, CHART.height];
    const x = (t) => CHART.left + ((t - first) / (last - first || 1)) * (width - CHART.left - CHART.right);
    const y = (value) => bottom - (value / ceiling) * (bottom - top);
    const content = svg('g', {});
    const values = [];
    for (let value = 0; value <= ceiling; value += step) values.push(value);
    grid(content, width, top, bottom, values, y, (value) => value.toLocaleString('en'));
    const below = model.times.map(() => 0);
    model.counts.forEach((row, state) => {
      const above = row.map((count, at) => below[at] + count);
      const there = model.times.map((t, at) => `${x(t).toFixed(1)} ${y(above[at]).toFixed(1)}`).join('L');
      const back = model.times.map((t, at) => `${x(t).toFixed(1)} ${y(below[at]).toFixed(1)}`).reverse().join('L');
      content.append(svg('path', { class: `area area-${state % 9}`, d: `M${there}L${back}z` }));
      above.forEach((value, at) => { below[at] = value; });
    });
    if (near) content.append(svg('line', { class: 'mark strong', x1: CHART.left, x2: width - CHART.right, y1: y(model.limit), y2: y(model.limit) }));
    ticks(0, last - first, Math.max(2, Math.floor(width / 120))).forEach((t) => content.append(
      svg('line', { class: 'axis', x1: x(t + first), x2: x(t + first), y1: bottom, y2: bottom + 5 }),
      svg('text', { class: 'tick', x: x(t + first), y: bottom + 19, 'text-anchor': 'middle' }, human(+t.toFixed(3)))));
    model.events.forEach((event) => content.append(svg('line', { class: 'mark', x1: x(event.at), x2: x(event.at), y1: top, y2: bottom })));
    content.append(svg('text', { class: 'tick', x: width - CHART.right, y: bottom + 37, 'text-anchor': 'end' }, 'time from the start'));
    if (cursor >= 0) content.append(svg('path', { class: 'cursor', d: `M${x(model.times[cursor]).toFixed(1)} ${top}V${bottom}` }));
    parts.picture.setAttribute('viewBox', `0 0 ${width} ${height}`);
    parts.picture.setAttribute('width', width);
    parts.picture.setAttribute('height', height);
    parts.picture.replaceChildren(content);
    parts.width = width;
  };
  const go = withCursor(parts, model.times.length, (index) => {
    cursor = index;
    const held = model.states.map((state, at) => [state, model.counts[at][index]]).filter(([, count]) => count > 0).map(([state, count]) => `${state} ${count.toLocaleString('en')}`);
    parts.said.textContent = `After ${human(Math.round(model.times[index] - first))}: ${several(totals[index], 'entry', 'entries')}${held.length ? ` (${held.join(', ')})` : ''}.`;
    draw();
  });
  parts.picture.addEventListener('pointermove', (event) => {
    const place = (event.clientX - parts.picture.getBoundingClientRect().left - CHART.left) / (parts.width - CHART.left - CHART.right);
    const t = first + place * (last - first);
    let best = 0;
    model.times.forEach((time, at) => { if (Math.abs(time - t) < Math.abs(model.times[best] - t)) best = at; });
    if (model.times.length) go(best);
  });
  host.append(el('ul', { class: 'legend' },
    model.states.map((state, at) => el('li', {}, svg('svg', { width: 14, height: 14, 'aria-hidden': 'true' }, svg('rect', { class: `area area-${at % 9}`, x: 1, y: 1, width: 12, height: 12 })), state)),
    model.limit === null ? '' : el('li', { class: 'limit' }, `${model.limit_label} ${model.limit.toLocaleString('en')}${near ? ' (the red line)' : ', above the chart'}`)));
  if (model.events.length) host.append(el('ul', { class: 'plain' }, model.events.map((event) => el('li', {}, `after ${human(event.at)}: ${event.text}`))));
  charts.push({ draw });
  draw();
};
