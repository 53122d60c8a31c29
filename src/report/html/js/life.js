// One flow's life: packets between two ends, and each box's timer burning down between them.
const KINDS = ['SYN', 'data', 'ACK', 'keepalive probe', 'FIN', 'RST', 'ICMP error'];
const WEIGHTS = [5, 2, 1, 3, 4, 6, 6];
const PAD = 14;
const HEIGHTS = { flags: 26, end: 40, label: 18, fuse: 62, gap: 16, axis: 62 };

/// Time to place, from 0 to 1. With silences skipped, a stretch is as wide as the logarithm of its length.
const makeAxis = (moments, [begin, end], skip) => {
  let at = [begin, end];
  if (skip) {
    at = [...new Set([begin, end, ...moments.filter((t) => t > begin && t < end)])].sort((a, b) => a - b);
    if (at.length > 64) {
      const gaps = at.slice(1).map((t, index) => [t - at[index], index]).sort((a, b) => b[0] - a[0] || a[1] - b[1]);
      const usual = gaps[gaps.length >> 1][0];
      const ends = new Set([0, at.length - 1]);
      for (const [gap, index] of gaps.slice(0, 24)) if (gap > 4 * usual) { ends.add(index); ends.add(index + 1); }
      at = [...ends].sort((a, b) => a - b).map((index) => at[index]);
    }
  }
  const weights = at.slice(1).map((t, index) => (skip ? 0.4 + Math.log1p((t - at[index]) / 0.01) ** 1.5 : 1));
  const total = weights.reduce((sum, weight) => sum + weight, 0) || 1;
  const places = [0];
  weights.forEach((weight) => places.push(places[places.length - 1] + weight / total));
  const between = (from, to) => (value) => {
    let low = 0;
    let high = from.length - 1;
    if (value <= from[low] || high === 0) return to[low];
    if (value >= from[high]) return to[high];
    while (high - low > 1) {
      const middle = (low + high) >> 1;
      if (from[middle] <= value) low = middle; else high = middle;
    }
    return to[low] + ((to[high] - to[low]) * (value - from[low])) / (from[high] - from[low]);
  };
  // A stretch is shortened where time runs much faster than in the slowest one.
  const paces = weights.map((_, index) => (at[index + 1] - at[index]) / (places[index + 1] - places[index]));
  const slowest = Math.min(...paces);
  const shortened = paces.map((pace, index) => skip && pace > 5 * slowest && at[index + 1] - at[index] >= 1);
  return { at, place: between(at, places), time: between(places, at), shortened };
};

const STEPS = [1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 10800, 21600, 43200, 86400, 172800, 604800];
const ticks = (from, to, most) => {
  const least = (to - from) / most;
  let step = STEPS.find((s) => s >= least);
  if (!step || least < 1) {
    const power = 10 ** Math.floor(Math.log10(least || 1));
    step = [1, 2, 5, 10].map((n) => n * power).find((s) => s >= least);
  }
  const all = [];
  for (let n = Math.ceil(from / step); n * step <= to && all.length < 100; n += 1) all.push(n * step);
  return all;
};

const sign = (kind, x, y) => {
  const p = (d) => `M${x.toFixed(1)} ${y.toFixed(1)}${d}`;
  switch (kind) {
    case 0: return p('m-4.5 3.5h9l-4.5 -8z');
    case 1: return p('m-3.5 0a3.5 3.5 0 1 0 7 0a3.5 3.5 0 1 0 -7 0');
    case 2: return p('m-2 0a2 2 0 1 0 4 0a2 2 0 1 0 -4 0');
    case 3: return p('m0 -5l5 5l-5 5l-5 -5z');
    case 4: return p('m-3.5 -3.5h7v7h-7z');
    case 5: return p('m-4 -4l8 8m0 -8l-8 8');
    default: return p('m-4.5 -3.5h9l-4.5 8z');
  }
};

/// Everything that can be stepped to, in order of time, with words.
const eventsOf = (life) => {
  const start = life.span[0];
  const when = (t) => `at ${span(t - start)}`;
  const boxes = life.boxes.map((box) => box.label);
  const events = life.packets.map((p) => {
    const [t, dir, kind, fate, box, frame, length] = p;
    const bytes = length ? `, ${several(length, 'byte', 'bytes')}` : '';
    let what = `${KINDS[kind]} ${dir ? 'server → client' : 'client → server'}${bytes}`;
    if (fate === 0 && box >= 0) what += `, sent by ${boxes[box] || 'a box'}`;
    if (fate === 1) what += box >= 0 ? `: kept by ${boxes[box] || 'a box'}` : ': lost on the way';
    return { t, text: `${frame ? `Frame ${frame}` : 'Packet'} ${when(t)}: ${what}`, packet: p, bad: fate === 1 };
  });
  life.boxes.forEach((box, index) => {
    for (const [from, , to, length, state, burnt] of box.fuses) {
      if (burnt === 1) events.push({ t: to, text: `${box.label} forgets the flow ${when(to)}: ${life.states[state]} for ${span(length)} since ${span(from - start)}`, box: index, bad: true });
    }
  });
  for (const cut of life.cuts) events.push({ t: cut.at, text: `${when(cut.at).replace('at', 'At')}: ${cut.text}`, cut, bad: cut.strong });
  const rank = (event) => (event.packet ? 1 : event.box !== undefined ? 0 : 2);
  return events.sort((a, b) => a.t - b.t || rank(a) - rank(b));
};

/// What is left of each box's timer at a moment.
const leftAt = (life, t) => life.boxes.map((box) => {
  let lit = null;
  for (const fuse of box.fuses) {
    if (fuse[1] > t) break;
    lit = fuse;
  }
  if (!lit || t > lit[2] + 1e-9 || (lit[5] === 1 && t >= lit[2])) return `${box.label}: no entry`;
  const left = clamp(lit[0] + lit[3] - t, 0, lit[3]);
  return `${box.label}: ${lit[5] === 2 ? human(lit[3]) : human(left)} of ${human(lit[3])} left, ${life.states[lit[4]]}`;
}).join('; ');

const makeLife = (host, life) => {
  const moments = [...life.packets.map((p) => p[0]), ...life.boxes.flatMap((box) => box.fuses.flatMap((f) => [f[1], f[2]])), ...life.cuts.map((cut) => cut.at)];
  const events = eventsOf(life);
  let skip = true;
  let axis = makeAxis(moments, life.span, skip);
  let view = [0, 1];
  let chosen = -1;
  const uid = `life-${Math.abs(life.packets.length)}-${life.cuts.length}`;

  const readout = el('p', { class: 'readout', role: 'status', 'aria-live': 'polite', id: `${uid}-said` }, 'Left and right step from event to event; + and − zoom; 0 shows all.');
  const picture = svg('svg', {
    class: 'timeline', tabindex: 0, role: 'application', 'aria-roledescription': 'timeline', 'aria-describedby': `${uid}-said`,
    'aria-label': `Timeline of ${life.client} and ${life.server}: ${several(events.length, 'event', 'events')}`,
  });
  const tip = el('div', { class: 'tip', hidden: true, 'aria-hidden': 'true' });
  const frame = el('div', { class: 'picture' }, picture, tip);
  const button = (text, label, act) => el('button', { type: 'button', class: 'quiet', 'aria-label': label, title: label, onclick: act }, text);
  const toggle = el('button', { type: 'button', class: 'quiet', 'aria-pressed': 'true', onclick: () => setSkip(!skip) }, 'Skip silences');
  const tools = el('div', { class: 'tools', role: 'group', 'aria-label': 'Timeline' },
    button('+', 'Zoom in (+)', () => zoom(0.5)), button('−', 'Zoom out (−)', () => zoom(2)), button('All', 'Show all (0)', () => setView([0, 1])),
    button('‹', 'Previous event (←)', () => step(-1)), button('›', 'Next event (→)', () => step(1)), toggle);

  const setView = ([from, to]) => {
    const wide = clamp(to - from, 1e-6, 1);
    const left = clamp(from, 0, 1 - wide);
    view = [left, left + wide];
    draw();
  };
  const zoom = (by, round) => {
    const middle = round === undefined ? (chosen >= 0 ? axis.place(events[chosen].t) : (view[0] + view[1]) / 2) : round;
    const at = clamp(middle, view[0], view[1]);
    setView([at - (at - view[0]) * by, at + (view[1] - at) * by]);
  };
  const setSkip = (on) => {
    const middle = axis.time((view[0] + view[1]) / 2);
    const whole = view[1] - view[0] > 0.999;
    skip = on;
    toggle.setAttribute('aria-pressed', String(on));
    axis = makeAxis(moments, life.span, skip);
    const half = (view[1] - view[0]) / 2;
    setView(whole ? [0, 1] : [axis.place(middle) - half, axis.place(middle) + half]);
  };
  const choose = (index, bring) => {
    chosen = clamp(index, 0, events.length - 1);
    const event = events[chosen];
    readout.textContent = `${event.text}. ${leftAt(life, event.t)}. (${chosen + 1} of ${events.length})`;
    const place = axis.place(event.t);
    const wide = view[1] - view[0];
    if (bring && (place < view[0] + 0.02 * wide || place > view[1] - 0.02 * wide)) setView([place - wide / 2, place + wide / 2]);
    else draw();
  };
  const step = (by) => {
    if (events.length) choose(chosen < 0 ? (by > 0 ? 0 : events.length - 1) : chosen + by, true);
  };

  let width = 800;
  const inner = () => width - 2 * PAD;
  const across = (t) => PAD + ((axis.place(t) - view[0]) / (view[1] - view[0])) * inner();
  const under = (x) => view[0] + ((x - PAD) / inner()) * (view[1] - view[0]);

  const layout = () => {
    let y = HEIGHTS.flags;
    const client = y + HEIGHTS.end - 12;
    y += HEIGHTS.end;
    const tops = life.boxes.map(() => {
      const top = y + HEIGHTS.label;
      y += HEIGHTS.label + HEIGHTS.fuse + HEIGHTS.gap;
      return top;
    });
    const server = y + 12;
    return { client, tops, server, height: server + 14 + HEIGHTS.axis };
  };

  const drawBox = (group, box, top) => {
    const bottom = top + HEIGHTS.fuse;
    group.append(svg('line', { class: 'ground', x1: PAD, x2: width - PAD, y1: bottom, y2: bottom }));
    const paths = { lit: '', burnt: '' };
    const words = [];
    let block = null;
    const flush = () => {
      if (block) paths.lit += `M${block[0].toFixed(1)} ${bottom}V${top}H${Math.max(block[1], block[0] + 0.6).toFixed(1)}V${bottom}z`;
      block = null;
    };
    for (const [from, shown, to, length, state, burnt] of box.fuses) {
      const [left, right] = [across(shown), across(to)];
      if (right < PAD - 2 || left > width - PAD + 2) continue;
      if (burnt !== 1 && right - left < 1.5) {
        if (block && left - block[1] < 2) block[1] = right; else { flush(); block = [left, right]; }
        continue;
      }
      flush();
      const high = (t) => (burnt === 2 ? top : bottom - HEIGHTS.fuse * clamp((from + length - t) / (length || 1), 0, 1));
      const [a, b] = [axis.time(clamp(under(PAD), 0, 1)), axis.time(clamp(under(width - PAD), 0, 1))];
      const [first, last] = [Math.max(shown, Math.min(a, to)), Math.min(to, Math.max(b, shown))];
      const points = [first, ...axis.at.filter((t) => t > first && t < last), last];
      paths[burnt === 1 ? 'burnt' : 'lit'] += `M${across(first).toFixed(1)} ${bottom}${points.map((t) => `L${across(t).toFixed(1)} ${high(t).toFixed(1)}`).join('')}V${bottom}z`;
      const text = `${life.states[state]} ${human(length)}`;
      const seen = [Math.max(left, PAD), Math.min(right, width - PAD)];
      if (seen[1] - seen[0] > text.length * 6.4 + 10) words.push([seen[0] + 6, bottom - 7, text, 'fuse-word']);
      if (burnt === 1) words.push([Math.min(right + 5, width - PAD - 58), bottom - 7, right + 70 < width ? 'forgotten' : '', 'burnt-word']);
    }
    flush();
    group.append(svg('path', { class: 'fuse', d: paths.lit }), svg('path', { class: 'fuse burnt', d: paths.burnt }));
    words.forEach(([x, y, text, kind]) => { if (text) group.append(svg('text', { class: kind, x: x.toFixed(1), y }, text)); });
    group.append(svg('text', { class: 'lane', x: PAD, y: top - 6 }, fitted(box.label, width - 2 * PAD)));
  };
  const fitted = (text, room) => {
    const most = Math.max(8, Math.floor(room / 6.6));
    return text.length > most ? `${text.slice(0, most - 1)}…` : text;
  };

  const drawPackets = (group, { client, tops, server }) => {
    const paths = { line: '', head: '', stop: '', cross: '' };
    const signs = KINDS.map(() => '');
    const taken = new Map();
    const seen = [];
    for (const p of life.packets) {
      const x = across(p[0]);
      if (x < PAD - 4 || x > width - PAD + 4) continue;
      const column = `${Math.round(x / 6)}|${p[1]}`;
      const weight = WEIGHTS[p[2]] + (p[3] === 1 ? 10 : 0);
      const known = taken.get(column);
      if (known === undefined) { taken.set(column, seen.length); seen.push([x, p, weight]); } else if (weight > seen[known][2]) seen[known] = [x, p, weight];
    }
    for (const [x, [, dir, kind, fate, box]] of seen) {
      const way = dir ? -1 : 1;
      const edge = (index) => (way > 0 ? tops[index] - 4 : tops[index] + HEIGHTS.fuse + 4);
      const known = box >= 0 && tops[box] !== undefined;
      let from = dir ? server : client;
      const to = dir ? client : server;
      if (fate === 0) {
        if (known) from = way > 0 ? tops[box] + HEIGHTS.fuse + 4 : tops[box] - 4;
        const head = to - way * 7;
        paths.line += `M${x.toFixed(1)} ${from}V${head}`;
        paths.head += `M${x.toFixed(1)} ${head}l-3 ${-way * 6}h6z`;
      } else {
        const stop = known ? edge(box) : from + way * 20;
        paths.stop += `M${x.toFixed(1)} ${from}V${stop}`;
        paths.cross += `M${x.toFixed(1)} ${stop}m-4 -4l8 8m0 -8l-8 8`;
      }
      signs[kind] += sign(kind, x, from);
    }
    group.append(svg('path', { class: 'way', d: paths.line }), svg('path', { class: 'head', d: paths.head }), svg('path', { class: 'stop', d: paths.stop + paths.cross }));
    signs.forEach((d, kind) => { if (d) group.append(svg('path', { class: `sign sign-${kind}`, d })); });
  };

  const drawAxis = (group, y) => {
    const [from, to] = view.map(axis.time);
    const start = life.span[0];
    group.append(svg('line', { class: 'axis', x1: PAD, x2: width - PAD, y1: y, y2: y }));
    const taken = [];
    const put = (t, force) => {
      const x = across(t);
      if (x < PAD - 1 || x > width - PAD + 1) return;
      const text = human(+(t - start).toFixed(to - from < 10 ? 6 : 3));
      const half = text.length * 3.4 + 5;
      const middle = clamp(x, half, width - half);
      if (!force && taken.some(([a, b]) => middle + half > a && middle - half < b)) return;
      taken.push([middle - half, middle + half]);
      group.append(svg('line', { class: 'axis', x1: x, x2: x, y1: y, y2: y + 5 }), svg('text', { class: 'tick', x: middle.toFixed(1), y: y + 34, 'text-anchor': 'middle' }, text));
    };
    if (!skip || axis.at.every((t) => t <= from || t >= to)) {
      ticks(from - start, to - start, Math.max(2, Math.floor(width / 110))).forEach((t) => put(t + start));
      return;
    }
    put(Math.max(from, life.span[0]), true);
    life.cuts.filter((cut) => cut.strong).forEach((cut) => put(cut.at));
    put(to);
    const long = axis.at.slice(1).map((t, index) => [t - axis.at[index], t, axis.at[index]]).sort((a, b) => b[0] - a[0]);
    long.slice(0, 60).forEach(([, end, begin]) => { put(end); put(begin); });
    axis.shortened.forEach((shortened, index) => {
      const [left, right] = [Math.max(across(axis.at[index]), PAD), Math.min(across(axis.at[index + 1]), width - PAD)];
      const text = `⋯ ${human(Math.round(axis.at[index + 1] - axis.at[index]))} ⋯`;
      if (shortened && right - left > text.length * 6 + 22) group.append(svg('text', { class: 'silence', x: ((left + right) / 2).toFixed(1), y: y + 17, 'text-anchor': 'middle' }, text));
    });
  };

  const drawFlags = (group, bottom) => {
    const marks = life.cuts.map((cut, index) => ({ cut, index, x: across(cut.at) })).filter(({ x }) => x >= PAD - 1 && x <= width - PAD + 1);
    marks.sort((a, b) => a.x - b.x);
    // Flags that would cover one another are moved apart, each to the right of the one before.
    let free = 9;
    const places = marks.map(({ x }) => { const at = Math.max(x, free); free = at + 19; return at; });
    let edge = width - 9;
    for (let n = places.length - 1; n >= 0; n -= 1) { places[n] = Math.min(places[n], edge); edge = places[n] - 19; }
    marks.forEach(({ cut, index, x }, n) => {
      const kind = cut.strong ? 'mark strong' : 'mark';
      group.append(svg('path', { class: kind, d: `M${places[n].toFixed(1)} 14L${x.toFixed(1)} ${HEIGHTS.flags}V${bottom}` }));
      group.append(svg('circle', { class: `${kind} flag`, cx: places[n].toFixed(1), cy: 12, r: 9 }), svg('text', { class: `flag-word${cut.strong ? ' strong' : ''}`, x: places[n].toFixed(1), y: 16, 'text-anchor': 'middle' }, index + 1));
    });
  };

  const draw = () => {
    width = Math.max(260, Math.floor(frame.clientWidth) || 800);
    const places = layout();
    const { client, server, tops, height } = places;
    picture.setAttribute('viewBox', `0 0 ${width} ${height}`);
    picture.setAttribute('width', width);
    picture.setAttribute('height', height);
    picture.dataset.from = axis.time(view[0]);
    picture.dataset.to = axis.time(view[1]);
    const clip = `${uid}-clip`;
    const content = svg('g', { 'clip-path': `url(#${clip})` });
    drawFlags(content, server + 14);
    life.boxes.forEach((box, index) => drawBox(content, box, tops[index]));
    [[client, 0], [server, 1]].forEach(([y, end]) => {
      const felt = life.felt[end];
      const from = felt ? clamp(across(felt.from), PAD, width - PAD) : width - PAD;
      content.append(svg('line', { class: 'end', x1: PAD, x2: from, y1: y, y2: y }));
      if (felt && from < width - PAD) content.append(svg('line', { class: 'end felt', x1: from, x2: width - PAD, y1: y, y2: y }));
    });
    drawPackets(content, places);
    if (chosen >= 0) {
      const x = across(events[chosen].t);
      content.append(svg('path', { class: 'cursor', d: `M${x.toFixed(1)} ${HEIGHTS.flags}V${server + 14}` }));
    }
    const room = width - 2 * PAD;
    content.append(svg('text', { class: 'lane', x: PAD, y: client - 10 }, fitted(life.client, room)), svg('text', { class: 'lane', x: PAD, y: server + 19 }, fitted(life.server, room)));
    [[client - 10, 0], [server + 19, 1]].forEach(([y, end]) => {
      const felt = life.felt[end];
      if (!felt) return;
      const from = Math.max(across(felt.from), PAD);
      const used = PAD + (end ? life.server : life.client).length * 6.8;
      const text = fitted(felt.text, width - PAD - used);
      if (from < width - PAD && width - PAD - used > text.length * 6.6) content.append(svg('text', { class: 'felt-word', x: width - PAD, y, 'text-anchor': 'end' }, text));
    });
    drawAxis(content, server + 26);
    // The bar says which part of the whole is seen.
    const bar = height - 6;
    content.append(svg('line', { class: 'bar', x1: PAD, x2: width - PAD, y1: bar, y2: bar }), svg('line', { class: 'bar seen', x1: PAD + view[0] * inner(), x2: Math.max(PAD + view[1] * inner(), PAD + view[0] * inner() + 3), y1: bar, y2: bar }));
    picture.replaceChildren(svg('defs', {}, svg('clipPath', { id: clip }, svg('rect', { x: 0, y: 0, width, height }))), content);
  };

  const nearest = (x) => {
    let best = -1;
    let near = 14;
    events.forEach((event, index) => {
      const far = Math.abs(across(event.t) - x) - (event.bad ? 3 : 0);
      if (far < near) { near = far; best = index; }
    });
    return best;
  };
  const place = (event) => event.clientX - picture.getBoundingClientRect().left;
  let drag = null;
  picture.addEventListener('pointerdown', (event) => {
    if (event.button !== 0) return;
    drag = { x: place(event), view: [...view], moved: false };
    picture.setPointerCapture(event.pointerId);
  });
  picture.addEventListener('pointermove', (event) => {
    const x = place(event);
    if (drag) {
      const by = ((x - drag.x) / inner()) * (drag.view[1] - drag.view[0]);
      if (Math.abs(x - drag.x) > 4) drag.moved = true;
      if (drag.moved) setView([drag.view[0] - by, drag.view[1] - by]);
      return;
    }
    const index = nearest(x);
    tip.hidden = index < 0;
    if (index >= 0) {
      tip.textContent = `${events[index].text}. ${leftAt(life, events[index].t)}`;
      tip.style.left = `${clamp(x - 140, 0, Math.max(0, width - 290))}px`;
      tip.style.top = `${event.clientY - picture.getBoundingClientRect().top + 18}px`;
    }
  });
  picture.addEventListener('pointerup', (event) => {
    if (drag && !drag.moved) {
      const index = nearest(place(event));
      if (index >= 0) choose(index, false);
    }
    drag = null;
  });
  picture.addEventListener('pointercancel', () => { drag = null; });
  picture.addEventListener('pointerleave', () => { tip.hidden = true; });
  picture.addEventListener('wheel', (event) => {
    if (!event.ctrlKey && !event.metaKey) return;
    event.preventDefault();
    zoom(event.deltaY > 0 ? 1.25 : 0.8, under(place(event)));
  }, { passive: false });
  picture.addEventListener('keydown', (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const wide = view[1] - view[0];
    const acts = {
      ArrowRight: () => (event.shiftKey ? setView([view[0] + wide / 5, view[1] + wide / 5]) : step(1)),
      ArrowLeft: () => (event.shiftKey ? setView([view[0] - wide / 5, view[1] - wide / 5]) : step(-1)),
      Home: () => choose(0, true), End: () => choose(events.length - 1, true),
      '+': () => zoom(0.5), '=': () => zoom(0.5), '-': () => zoom(2), 0: () => setView([0, 1]), s: () => setSkip(!skip),
      n: () => { const next = events.findIndex((e, index) => index > chosen && e.bad); if (next >= 0) choose(next, true); },
      Escape: () => { tip.hidden = true; },
    };
    const act = acts[event.key];
    if (!act) return;
    event.preventDefault();
    act();
  });

  const used = KINDS.map((name, kind) => [name, kind]).filter(([, kind]) => life.packets.some((p) => p[2] === kind));
  const legend = el('ul', { class: 'legend' },
    used.map(([name, kind]) => el('li', {}, svg('svg', { width: 14, height: 14, 'aria-hidden': 'true' }, svg('path', { class: `sign sign-${kind}`, d: sign(kind, 7, 7) })), name)),
    life.packets.some((p) => p[3] === 1) ? el('li', {}, svg('svg', { width: 14, height: 14, 'aria-hidden': 'true' }, svg('path', { class: 'stop', d: 'M3 3l8 8m0 -8l-8 8' })), 'not let through') : '',
    el('li', {}, svg('svg', { width: 18, height: 14, 'aria-hidden': 'true' }, svg('path', { class: 'fuse', d: 'M1 13V2L17 9V13z' })), 'what is left of the timer'),
    life.boxes.some((box) => box.fuses.some((f) => f[5] === 1)) ? el('li', {}, svg('svg', { width: 18, height: 14, 'aria-hidden': 'true' }, svg('path', { class: 'fuse burnt', d: 'M1 13V2L17 13z' })), 'burnt out: the box forgot the flow') : '');
  const marked = life.cuts.length ? el('ol', { class: 'marks' }, life.cuts.map((cut) => el('li', { class: cut.strong ? 'strong' : null },
    el('button', { type: 'button', class: 'link', onclick: () => { choose(events.findIndex((event) => event.cut === cut), true); } }, cut.text)))) : '';
  host.append(tools, frame, readout, legend, marked, life.note ? el('p', { class: 'aside' }, life.note) : '');
  draw();
  return { draw };
};
