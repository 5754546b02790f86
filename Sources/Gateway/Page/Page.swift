/// The page at `GET /` of the API port. It publishes events, and shows the events of a channel.
///
/// It is one document with one inline style and one inline script, so that the content security policy can allow both by their SHA-256. The policy needs
/// `connect-src` for the API port and the subscriber port, and `img-src data:` for its empty icon. Text from the network is shown with `textContent`.
enum Page {
    static let html = #"""
        <!doctype html>
        <html lang="en">
        <head>
        <meta charset="utf-8">
        <meta name="viewport" content="width=device-width, initial-scale=1">
        <meta name="color-scheme" content="light dark">
        <title>Realertime</title>
        <link rel="icon" href="data:,">
        <style>\#(style)</style>
        </head>
        <body>
        <a class="skip" href="#events">Skip to the events</a>
        <header>
          <h1>Realertime</h1>
          <p id="state" data-state="connecting"><span id="mark" aria-hidden="true">○</span> <span id="state-text">connecting</span></p>
          <p id="node">Connecting to the node…</p>
        </header>
        <main>
        <noscript><p class="notice">This page needs JavaScript to watch events.</p></noscript>

        <section id="token-section" aria-labelledby="token-heading" hidden>
        <h2 id="token-heading">API token</h2>
        <form id="token-form">
          <p id="token-help">This node needs an API token. The page keeps the token only in this tab.</p>
          <div class="row">
            <label class="grow">Token <input id="token" type="password" autocomplete="off" required aria-describedby="token-help"></label>
            <button>Use token</button>
          </div>
        </form>
        </section>

        <section aria-labelledby="watch-heading">
        <h2 id="watch-heading">Watch</h2>
        <form id="watch-form" class="row">
          <label class="grow">Channel <input id="channel" value="demo" required maxlength="200" pattern="[A-Za-z0-9_.:\-]+"
            title="Letters, digits, _ . : and -" autocapitalize="off" autocomplete="off" spellcheck="false"></label>
          <button id="watch">Watch</button>
          <button id="stop" type="button">Stop</button>
        </form>
        </section>

        <section aria-labelledby="publish-heading">
        <h2 id="publish-heading">Publish to <span id="to">demo</span></h2>
        <form id="publish-form">
          <label>Message <textarea id="message" rows="2" required>Hello</textarea></label>
          <div class="row">
            <label class="grow wide">Event type, optional <input id="type" maxlength="64" autocapitalize="off" autocomplete="off" spellcheck="false"></label>
            <button id="publish" class="main">Publish</button>
            <button id="burst" type="button">Publish 100</button>
          </div>
          <output id="result" role="status">Nothing published yet.</output>
        </form>
        </section>

        <section aria-labelledby="live-heading">
        <h2 id="live-heading">Live</h2>
        <dl>
          <div><dt>Events</dt><dd id="received">0</dd></div>
          <div><dt>Per second</dt><dd id="rate">0</dd></div>
          <div><dt>Own sent</dt><dd id="sent">0</dd></div>
          <div><dt>Latency p50</dt><dd id="median">0</dd></div>
          <div><dt>Latency p99</dt><dd id="p99">0</dd></div>
          <div><dt>Own pending</dt><dd id="awaited">0</dd></div>
          <div><dt>Resumes</dt><dd id="resumes">0</dd></div>
          <div><dt>Gaps</dt><dd id="gaps">0</dd></div>
          <div><dt>Own repeated</dt><dd id="repeats">0</dd></div>
        </dl>
        <figure>
          <canvas id="plot" role="img" aria-label="No events in the last minute.">Plot</canvas>
          <figcaption>The last minute. Bars: events per second. Dots: latency of this page's own events, from publish to arrival.</figcaption>
        </figure>
        </section>

        <section id="events" aria-labelledby="events-heading" tabindex="-1">
        <div class="row head">
          <h2 id="events-heading" class="grow">Events</h2>
          <button id="pause" type="button" aria-pressed="false">Pause list</button>
          <button id="clear" type="button">Clear</button>
        </div>
        <p id="empty">No events yet. Publish an event, or wait until a back end publishes one.</p>
        <ol id="list" reversed></ol>
        </section>
        </main>
        <p id="announce" class="hidden" role="status" aria-live="polite"></p>
        <script>\#(script)</script>
        </body>
        </html>

        """#

    static let style = #"""

        :root { --paper: #fbfbf9; --sheet: #fff; --ink: #1c2226; --soft: #5a646b; --line: #d9dcd8; --edge: #868f94; --main: #1f5f8b; --on-main: #fff; --dot: #a8480f; --warn: #8a3b00; --good: #1d6b3c }
        @media (prefers-color-scheme: dark) {
          :root { --paper: #14181b; --sheet: #1b2024; --ink: #e7e9e6; --soft: #a3adb3; --line: #31383d; --edge: #6f7a81; --main: #86bfe8; --on-main: #0d1a24; --dot: #f0a06a; --warn: #f2b27c; --good: #86d3a3 }
        }
        * { box-sizing: border-box }
        html { font: 100%/1.45 system-ui, sans-serif; background: var(--paper); color: var(--ink); -webkit-text-size-adjust: 100% }
        body { margin: 0 auto; max-width: 72rem; padding: 1rem }
        h1, h2, p, dl, dd, figure, ol { margin: 0 }
        h1 { font-size: 1.25rem; letter-spacing: -.01em }
        h2 { font-size: 1rem; overflow-wrap: anywhere }
        header { display: flex; flex-wrap: wrap; align-items: baseline; gap: 0 1rem; padding-bottom: .75rem; border-bottom: 1px solid var(--line) }
        #state { margin-left: auto; font-weight: 600; white-space: nowrap; color: var(--soft) }
        #state[data-state=live] { color: var(--good) }
        #state[data-state=reconnecting], #state[data-state=closed] { color: var(--warn) }
        #node { flex-basis: 100%; color: var(--soft); font-size: .875rem; overflow-wrap: anywhere }
        section { padding: .875rem 0; border-bottom: 1px solid var(--line) }
        #events { border: 0 }
        form, label { display: grid; gap: .25rem }
        form { margin-top: .5rem; gap: .625rem }
        label, dt, figcaption, time, .meta, #result, #token-help { font-size: .875rem; color: var(--soft) }
        .row { display: flex; flex-wrap: wrap; align-items: end; gap: .5rem }
        .head { align-items: center }
        .grow { flex: 1 1 5rem; min-width: 0 }
        .wide { flex-basis: 100% }
        .wide ~ button { flex: 1 }
        input, textarea, button { font: inherit; color: var(--ink); background: var(--sheet); border: 1px solid var(--edge); border-radius: .375rem; padding: .5rem .625rem; min-height: 2.75rem }
        input, textarea { width: 100%; font-size: 1rem }
        textarea { resize: vertical }
        button { cursor: pointer; padding-inline: .875rem }
        button:hover { border-color: var(--main) }
        button.main { background: var(--main); border-color: var(--main); color: var(--on-main); font-weight: 600 }
        button[aria-pressed=true] { background: var(--ink); color: var(--paper) }
        :focus-visible { outline: 3px solid var(--main); outline-offset: 2px }
        #result { min-height: 1.3em; overflow-wrap: anywhere }
        dl { display: grid; grid-template-columns: repeat(3, minmax(0, 1fr)); gap: .5rem .75rem; margin-top: .5rem }
        dd, time, .meta { font-variant-numeric: tabular-nums }
        dd { font-size: 1.125rem; font-weight: 600 }
        canvas { display: block; width: 100%; height: 11rem; margin: .75rem 0 .25rem }
        #empty { padding: .75rem 0; color: var(--soft) }
        ol { list-style: none; padding: 0 }
        li { padding: .5rem 0; border-bottom: 1px solid var(--line); overflow-wrap: anywhere }
        li p { white-space: pre-wrap }
        li b { font-weight: 600; color: var(--ink) }
        .notice { border-left: 4px solid var(--warn); padding-left: .625rem }
        .notice b { color: var(--warn) }
        .hidden, .skip:not(:focus) { position: absolute; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%); white-space: nowrap }
        @media (min-width: 56rem) {
          main { display: grid; grid-template-columns: minmax(0, 26rem) minmax(0, 1fr); grid-auto-rows: min-content; column-gap: 2.5rem }
          section { grid-column: 1 }
          #events { grid-column: 2; grid-row: 1 / span 9 }
        }

        """#

    static let script = #"""

        'use strict';
        const $ = id => document.getElementById(id);
        const SECONDS = 60, KEPT = 200, SHOWN = 2000, SAMPLES = 5000;
        const sleep = ms => new Promise(done => setTimeout(done, ms));
        // randomUUID exists only on https and localhost.
        const unique = () => crypto.randomUUID ? crypto.randomUUID()
          : Array.from(crypto.getRandomValues(new Uint8Array(16)), b => b.toString(16).padStart(2, '0')).join('');
        const show = (id, text) => { const e = $(id); if (e.textContent !== String(text)) e.textContent = text; };
        const ms = x => x < 10 ? x.toFixed(1) + ' ms' : x < 9999.5 ? Math.round(x) + ' ms' : (x / 1000).toFixed(1) + ' s';

        const page = unique();       // marks this page's own events: only their latency can be measured with one clock
        let base = '';               // the subscriber port, from /api/status
        let channel = new URLSearchParams(location.search).get('channel') || 'demo';
        let source = null, timer = 0, cursor = '', tries = 0, opened = false;
        let received, resumes, gaps, sent, repeats, pending, bins, samples;

        function reset() {
          received = resumes = gaps = sent = repeats = 0;
          pending = new Set(); bins = new Map(); samples = [];
        }

        // A screen reader reads this text, at most every four seconds.
        let note = '', fresh = 0;
        setInterval(() => {
          const words = [note, fresh ? fresh + (fresh === 1 ? ' event' : ' events') + ' arrived.' : ''].filter(Boolean).join(' ');
          note = ''; fresh = 0;
          if (words) $('announce').textContent = words;
        }, 4000);

        const MARKS = { connecting: '○', live: '●', reconnecting: '◐', closed: '✕' };
        function become(state) {
          if ($('state').dataset.state === state) return;
          $('state').dataset.state = state;
          show('mark', MARKS[state]); show('state-text', state);
          note = state + (state === 'live' ? ' on ' + channel + '.' : '.');
        }

        function watch(name) {
          leave(); reset();
          channel = name; cursor = ''; tries = 0; opened = false;
          $('channel').value = name; show('to', name);
          document.title = name + ' – Realertime';
          const url = new URL(location.href);
          url.searchParams.set('channel', name);
          history.replaceState(null, '', url);
          become('connecting');
          if (base) connect();
        }

        function leave() {
          clearTimeout(timer);
          if (source) source.close();
          source = null;
          become('closed');
        }

        function connect() {
          if (opened && !cursor) notice('Reconnected without a cursor', 'events published during the interruption are not shown');
          // With the envelope every event and every gap is a message. Without it EventSource would call only listeners of the event's type.
          const s = source = new EventSource(base + '/ev/' + channel + '?envelope=1' + (cursor ? '&since=' + cursor : ''));
          s.onopen = () => {
            if (s !== source) return;
            tries = 0;
            if (opened) resumes++;
            opened = true;
            become('live');
          };
          s.onerror = () => {
            if (s !== source) return;
            become(opened ? 'reconnecting' : 'connecting');
            if (s.readyState !== EventSource.CLOSED) return;  // the browser itself reconnects, with its cursor
            // The response was an error, for example from a proxy. The browser does not reconnect, so the page reconnects with the last cursor.
            timer = setTimeout(connect, Math.min(15000, 500 * 2 ** tries++) * (.5 + Math.random() / 2));
          };
          s.onmessage = receive;
        }

        function receive(e) {
          if (e.target !== source) return;
          const now = performance.now(), second = Math.floor(now / 1000);
          cursor = e.lastEventId || cursor;
          let m = {}, own = null;
          try { m = JSON.parse(e.data); } catch {}
          if (m.gap) {
            gaps++;
            return notice('Gap', 'events ' + m.gap.from + ' to ' + m.gap.to + ' are missing: ' + m.gap.reason);
          }
          received++; fresh++;
          bins.set(second, (bins.get(second) || 0) + 1);
          const d = 'data' in m ? m.data : m.data_base64;
          if (d && d.page === page) {
            own = now - d.sent;
            if (!pending.delete(d.n)) repeats++;
            samples.push([now, own]);
            if (samples.length > SAMPLES) samples.shift();
          }
          const text = d && typeof d === 'object' ? (own === null ? JSON.stringify(d) : d.text) : String(d);
          queue({ type: m.type, text, own, at: new Date() });
        }

        let waiting = [], paused = false, drawing = 0;
        function notice(title, text) {
          note = title + ': ' + text + '.';
          queue({ title, text, at: new Date() });
        }
        function queue(row) {
          waiting.push(row);
          if (waiting.length > KEPT) waiting.shift();
          if (!drawing && !paused) drawing = setTimeout(draw, 100);
        }
        function draw() {
          drawing = 0;
          const list = $('list'), rows = document.createDocumentFragment();
          for (const row of waiting.reverse()) rows.append(item(row));
          waiting = [];
          list.prepend(rows);
          while (list.children.length > KEPT) list.lastChild.remove();
          $('empty').hidden = list.children.length > 0;
        }
        function item(row) {
          const li = document.createElement('li'), meta = document.createElement('span'), body = document.createElement('p');
          const add = (tag, text) => { const e = document.createElement(tag); e.textContent = text; meta.append(e, ' '); };
          meta.className = 'meta';
          add('time', row.at.toLocaleTimeString([], { hour12: false }) + '.' + String(row.at.getMilliseconds()).padStart(3, '0'));
          if (row.title) { li.className = 'notice'; add('b', '⚠ ' + row.title); }
          if (row.type) add('b', row.type);
          if (row.own != null) add('span', 'sent by this page, ' + ms(row.own));
          body.textContent = row.text.length > SHOWN ? row.text.slice(0, SHOWN) + '… (' + row.text.length + ' characters)' : row.text;
          li.append(meta, body);
          return li;
        }

        const auth = () => { const t = sessionStorage.getItem('token'); return t ? { Authorization: 'Bearer ' + t } : {}; };
        function showTokenForm() { $('token-section').hidden = false; }

        // Every attempt has the same message id, so that an event is not published twice if a response was lost.
        async function publish(text, type) {
          const headers = { 'Message-Id': unique(), ...auth() }, n = sent++, to = channel, mine = pending;
          const began = performance.now(), event = JSON.stringify({ text, page, n, sent: began });
          if (type) headers['Event-Type'] = type;
          mine.add(n);
          for (let go = 1; ; go++) {
            let wait = Math.min(5000, 250 * 2 ** go), final = null;
            try {
              const response = await fetch('/pub?id=' + to, { method: 'POST', headers, body: event, signal: AbortSignal.timeout(10000) });
              const body = await response.json();
              if (response.ok) return { ...body, tries: go, ms: performance.now() - began };
              if (response.status === 401) showTokenForm();
              if (![502, 503, 504].includes(response.status)) final = body.error ? body.error.message : 'HTTP ' + response.status;
              wait = Math.max(wait, 1000 * Math.min(10, Number(response.headers.get('Retry-After')) || 0));
            } catch {}
            if (!final && performance.now() - began > 60000) final = 'no response for a minute';
            if (final) { mine.delete(n); throw Error(final); }
            show('result', 'Not published yet. Trying again with the same message id…');
            await sleep(wait * (.5 + Math.random() / 2));
          }
        }

        $('publish-form').onsubmit = async e => {
          e.preventDefault();
          try {
            const r = await publish($('message').value, $('type').value.trim());
            show('result', 'Published ' + r.id + ' to ' + r.channel + ' in ' + ms(r.ms) + ', subscribers: ' + r.subscribers
              + (r.tries > 1 ? ', after ' + r.tries + ' tries.' : '.'));
          } catch (error) { show('result', 'Not published: ' + error.message); }
        };

        let bursting = false;
        $('burst').onclick = async () => {
          if (bursting || !$('publish-form').reportValidity()) return;
          bursting = true;
          const text = $('message').value, type = $('type').value.trim(), began = performance.now(), all = [];
          show('result', 'Publishing 100 events…');
          for (let i = 1; i <= 100; i++) {
            all.push(publish(text + ' ' + i, type));
            await sleep(20);
          }
          const bad = (await Promise.allSettled(all)).filter(r => r.status === 'rejected');
          show('result', 'Published ' + (100 - bad.length) + ' of 100 events in ' + ms(performance.now() - began)
            + (bad.length ? '. Not published: ' + bad[0].reason.message : '.'));
          bursting = false;
        };

        const nice = x => { const p = 10 ** Math.floor(Math.log10(x)); return p * [1, 2, 5, 10].find(k => k * p >= x); };
        let described = 0;
        function numbers() {
          const now = performance.now(), second = Math.floor(now / 1000);
          for (const k of bins.keys()) if (k <= second - SECONDS) bins.delete(k);
          while (samples.length && samples[0][0] < now - SECONDS * 1000) samples.shift();
          const sorted = samples.map(s => s[1]).sort((a, b) => a - b);
          const at = q => sorted.length ? ms(sorted[Math.min(sorted.length - 1, Math.floor(q * sorted.length))]) : '–';
          const rate = bins.get(second - 1) || 0, peak = Math.max(0, ...bins.values());
          show('received', received); show('rate', rate); show('median', at(.5)); show('p99', at(.99));
          show('sent', sent); show('awaited', pending.size); show('repeats', repeats); show('resumes', resumes); show('gaps', gaps);
          if (now - described > 5000) {
            described = now;
            $('plot').setAttribute('aria-label', peak
              ? 'In the last minute at most ' + peak + ' events a second, now ' + rate + '. ' + (sorted.length
                ? 'Latency of ' + sorted.length + ' own events: median ' + at(.5) + ', p99 ' + at(.99) + ', highest ' + at(1) + '.' : 'No own events.')
              : 'No events in the last minute.');
          }
          plot(second, Math.max(peak, 10), Math.max(10, sorted.at(-1) || 0));
        }

        function plot(second, peak, slowest) {
          const canvas = $('plot'), css = getComputedStyle(document.documentElement), colour = n => css.getPropertyValue('--' + n);
          const scale = devicePixelRatio || 1, w = canvas.clientWidth, h = canvas.clientHeight;
          if (!w) return;
          if (canvas.width !== Math.round(w * scale)) { canvas.width = Math.round(w * scale); canvas.height = Math.round(h * scale); }
          const c = canvas.getContext('2d');
          c.setTransform(scale, 0, 0, scale, 0, 0);
          c.clearRect(0, 0, w, h);
          c.font = '12px system-ui, sans-serif';
          const lane = (h - 18) / 2, x = s => (s - second + SECONDS - 1) * w / SECONDS;
          const axis = (top, max, unit) => {
            c.strokeStyle = colour('line'); c.lineWidth = 1;
            c.beginPath();
            c.moveTo(0, top + 16.5); c.lineTo(w, top + 16.5);
            c.moveTo(0, top + lane - .5); c.lineTo(w, top + lane - .5);
            c.stroke();
            c.fillStyle = colour('soft'); c.textAlign = 'left';
            c.fillText(max + unit, 0, top + 12);
            return v => top + lane - 1 - v / max * (lane - 18);
          };
          const most = nice(peak), longest = nice(slowest);
          let y = axis(0, most, ' events/s');
          c.fillStyle = colour('main');
          for (const [s, n] of bins) c.fillRect(x(s) + .5, y(n), Math.max(1, w / SECONDS - 1), y(0) - y(n) + .5);
          y = axis(lane, longest, ' ms');
          c.fillStyle = colour('dot');
          for (const [t, v] of samples) { c.beginPath(); c.arc(x(t / 1000), y(v), 2, 0, 7); c.fill(); }
          c.fillStyle = colour('soft');
          c.fillText('1 minute ago', 0, h - 4);
          c.textAlign = 'right';
          c.fillText('now', w, h - 4);
        }
        setInterval(() => { if (!document.hidden) numbers(); }, matchMedia('(prefers-reduced-motion: reduce)').matches ? 1000 : 250);

        async function refresh() {
          let s = null;
          try {
            const response = await fetch('/api/status', { headers: auth(), signal: AbortSignal.timeout(5000) });
            if (response.status === 401) {
              show('node', sessionStorage.getItem('token') ? 'The node refused this API token.' : 'The node needs an API token.');
              return showTokenForm();
            }
            if (response.ok) s = await response.json();
          } catch {}
          if (!s) return show('node', 'The node does not respond. Trying again…');
          $('token-section').hidden = true;
          show('node', 'Node ' + [s.node.id, s.node.version, s.health, s.subscribers.connections + ' connected'].concat(s.reasons).join(' · '));
          // If the node listens on all addresses or on loopback, this page connects to the subscriber port under the page's own host name.
          const [, host, port] = s.listen.match(/^(.*):(\d+)$/);
          const any = /^(\*|0\.0\.0\.0|\[?::\]?|127\..*|\[?::1\]?|localhost|)$/.test(host);
          const found = location.protocol + '//' + (any ? location.hostname : host) + ':' + port;
          if (found === base) return;
          base = found;
          if ($('state').dataset.state === 'connecting') connect();
        }
        (async () => { for (;;) { if (!document.hidden || !base) await refresh(); await sleep(base ? 5000 : 1500); } })();

        $('token-form').onsubmit = e => {
          e.preventDefault();
          sessionStorage.setItem('token', $('token').value);
          $('token').value = '';
          refresh();
        };
        $('watch-form').onsubmit = e => { e.preventDefault(); watch($('channel').value.trim()); };
        $('channel').oninput = e => e.target.setCustomValidity(/\.b\d+$/.test(e.target.value) ? 'A channel must not end in .b and digits.' : '');
        $('stop').onclick = leave;
        $('pause').onclick = e => {
          paused = !paused;
          e.target.setAttribute('aria-pressed', paused);
          if (!paused) draw();
        };
        $('clear').onclick = () => { waiting = []; $('list').replaceChildren(); draw(); };
        // Without this handler, a page in the back-forward cache would keep one of the browser's few connections.
        addEventListener('pagehide', () => { if (source) source.close(); clearTimeout(timer); });
        addEventListener('pageshow', e => { if (e.persisted && source) { become('reconnecting'); connect(); } });
        watch(channel);

        """#
}
