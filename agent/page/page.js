"use strict";

/* Shows /status, again and again. Text goes in as text, never as markup. */

const SHOWN_MAX = 100; /* probes; the agent picks those in trouble first */
const PERIOD_MS = 1000;
const PERIOD_MAX_MS = 3000;
const TIMEOUT_MS = 5000;
const WAIT_MS = 2000; /* for an answer until it is said that none comes */
const SVG = "http://www.w3.org/2000/svg";
const VERDICTS = [["ready", "Ready", "Not ready"], ["healthz", "Alive", "Not alive"],
	["startup", "Started", "Not started"]];
const COLOURS = {good: "#1a7f37", warn: "#b07a00", bad: "#c4232b", gone: "#808890"};

const $ = id => document.getElementById(id);
const rows = new Map(); /* of probes, by role and name */
let status = null;      /* the last answer */
let receivedAt = 0;     /* when it came, on performance.now() */
let failingSince = 0;   /* since when none comes; 0 = the last one came */
let failure = "";
let timer = 0;
let askedAt = 0;        /* when an answer was asked for that has not come; 0 = none is awaited */

/* ---- small things ---- */

/* Touches only what has changed, so that nothing flickers and no selection is lost. */
function setText(node, text) {
	if (node.textContent !== text)
		node.textContent = text;
}

function setClass(node, name) {
	if (node.getAttribute("class") !== name)
		node.setAttribute("class", name);
}

function show(node, text) {
	node.hidden = !text;
	setText(node, text || "");
}

function element(name, parent, className) {
	const node = document.createElement(name);
	if (className)
		node.className = className;
	parent.append(node);
	return node;
}

function duration(ms) {
	const seconds = Math.max(0, Math.floor(ms / 1000));
	if (seconds < 120)
		return seconds + " s";
	if (seconds < 7200)
		return Math.floor(seconds / 60) + " min";
	return seconds < 172800 ? Math.floor(seconds / 3600) + " h" : Math.floor(seconds / 86400) + " d";
}

function count(number, one, many) {
	return number + " " + (number === 1 ? one : many);
}

function milliseconds(ms) {
	return (ms < 10 ? ms.toFixed(1) : ms < 10000 ? ms.toFixed(0) : (ms / 1000).toFixed(1) + " k") + " ms";
}

/* How much later it is than when the answer was made, by our clock alone. */
function elapsed() {
	return performance.now() - receivedAt;
}

/* How long ago a time of the agent's clock is. */
function since(time) {
	return Date.parse(status.at) - Date.parse(time) + elapsed();
}

/* ---- verdicts ---- */

const verdicts = VERDICTS.map(([endpoint, yes, no]) => {
	const item = element("li", $("verdicts"));
	return {endpoint, yes, no, item, word: element("strong", item), path: element("span", item, "path"),
		why: element("span", item, "why"), since: element("span", item, "since"), told: null};
});

/* What stands in an endpoint's way, or only warns. */
function whyOf(endpoint, verdict) {
	if (verdict.ok && !verdict.degraded)
		return "";
	const roles = endpoint === "healthz" ? ["liveness"] : !status.verdicts.startup.ok ? ["startup"]
		: ["readiness", "liveness"];
	const named = status.probes.filter(probe => roles.includes(probe.role) &&
		(verdict.ok ? probe.ok && probe.state === "warn" : !probe.ok));
	/* Among those left out may be others. */
	const more = status.probesLeftOut ? "" : named.length - 3 + " ";
	const names = named.slice(0, 3).map(probe => probe.name).join(", ") + (named.length > 3 ? ` and ${more}more` : "");
	return (verdict.why || "a probe passes with a warning") + (names ? ": " + names : "");
}

function drawVerdicts() {
	const news = [];
	for (const shown of verdicts) {
		const verdict = status.verdicts[shown.endpoint];
		const word = verdict.ok ? shown.yes : shown.no;
		const mark = failingSince ? "?" : verdict.ok ? "\u2713" : "\u2717";
		setClass(shown.item, !verdict.ok ? "no" : verdict.degraded ? "degraded" : "yes");
		setText(shown.word, mark + " " + word);
		setText(shown.path, "/" + shown.endpoint);
		setText(shown.why, whyOf(shown.endpoint, verdict));
		setText(shown.since, failingSince ? `as of ${duration(elapsed())} ago` : "for " + duration(since(verdict.since)));
		const told = word + (verdict.why ? ": " + verdict.why : "");
		if (shown.told !== told)
			news.push(told);
		shown.told = told;
	}
	if (news.length)
		setText($("live"), news.join(". "));
}

function drawFrame() {
	const ready = status.verdicts.ready;
	const state = failingSince ? "gone" : !ready.ok ? "bad" : ready.degraded ? "warn" : "good";
	const name = status.service + (status.version ? " " + status.version : "");
	const title = (failingSince ? "? " : ready.ok ? "\u2713 " : "\u2717 ") + name;
	const icon = "data:image/svg+xml," + encodeURIComponent(
		`<svg xmlns="${SVG}" viewBox="0 0 16 16"><circle cx="8" cy="8" r="7" fill="${COLOURS[state]}"/></svg>`);
	if (document.title !== title)
		document.title = title;
	if ($("icon").getAttribute("href") !== icon)
		$("icon").href = icon;
	setText($("service"), status.service);
	setText($("version"), status.version);
	show($("draining"), status.draining &&
		"Out of service: draining, by " + status.drainSources.join(" and ") + ".");
	$("hidden").hidden = status.details;
	setText($("agent"), `readyd ${status.readyd}, process ${status.pid}, up for ` +
		duration(status.uptimeMs + elapsed()) + (status.reloads ? ", " + count(status.reloads, "reload", "reloads") : ""));
}

/* ---- probes ---- */

function newRow(probe) {
	const row = document.createElement("tr");
	const cells = ["th", "td", "td", "td", "td", "td"].map(name => {
		const cell = element(name, row);
		cell.setAttribute("role", name === "th" ? "rowheader" : "cell");
		return cell;
	});
	row.setAttribute("role", "row");
	cells[0].scope = "row";
	setText(element("span", cells[0]), probe.name);
	const svg = document.createElementNS(SVG, "svg");
	svg.setAttribute("role", "img");
	cells[4].append(svg);
	return {row, svg, drawn: "",
		about: element("small", cells[0]), target: element("small", cells[0]),
		standing: element("b", cells[1]), standingSince: element("small", cells[1]),
		reason: element("span", cells[2]), message: element("small", cells[2]),
		streak: element("span", cells[3]), threshold: element("small", cells[3]),
		latency: element("small", cells[4]), age: element("span", cells[5]), next: element("small", cells[5])};
}

function streak(probe) {
	const passing = probe.standing === "passing";
	if (probe.failures)
		return passing || probe.failures < probe.failureThreshold
			? `failure ${probe.failures} of ${probe.failureThreshold}`
			: count(probe.failures, "failure", "failures") + " in a row";
	if (probe.passes)
		return passing ? count(probe.passes, "pass", "passes") + " in a row" : `pass ${probe.passes} of ${probe.successThreshold}`;
	return "none yet";
}

function nextRun(probe) {
	if (failingSince)
		return "next unknown";
	if (probe.running)
		return "running";
	if (probe.nextRunInMs !== undefined) {
		const left = probe.nextRunInMs - elapsed();
		return left < 1000 ? "due now" : "next in " + duration(left);
	}
	if (probe.role === "startup" && status.verdicts.startup.ok)
		return "done";
	return probe.role !== "startup" && !status.verdicts.startup.ok ? "waits for startup" : "waits for its turn";
}

function longest(probe) {
	return Math.max(1e-3, ...probe.history.map(run => run.durationMs));
}

/* A bar for each past run as long as it took; one that failed is red, of full height and crossed out. */
function drawRuns(shown, probe) {
	const runs = probe.history;
	const last = runs.length ? runs[runs.length - 1] : null;
	const key = probe.runs + " " + (last ? last.at : "");
	if (shown.drawn === key)
		return;
	shown.drawn = key;
	const width = 7, height = 28, count = 16;
	const most = longest(probe);
	const failed = runs.filter(run => run.state === "fail").length;
	const warned = runs.filter(run => run.state === "warn").length;
	const parts = runs.map((run, index) => {
		const group = document.createElementNS(SVG, "g");
		const bar = document.createElementNS(SVG, "rect");
		const long = run.state === "fail" ? height - 8 : Math.max(2, run.durationMs / most * height);
		const left = (count - runs.length + index) * width;
		const title = document.createElementNS(SVG, "title");
		title.textContent = `${run.state} ${run.reason}, ${milliseconds(run.durationMs)}, ` +
			new Date(run.at).toLocaleTimeString();
		bar.setAttribute("class", run.state);
		bar.setAttribute("x", left);
		bar.setAttribute("y", height - long);
		bar.setAttribute("width", width - 2);
		bar.setAttribute("height", long);
		group.append(title, bar);
		if (run.state === "fail") {
			const cross = document.createElementNS(SVG, "path");
			cross.setAttribute("d", `M${left} 1l5 5m0 -5l-5 5`);
			group.append(cross);
		}
		return group;
	});
	const base = document.createElementNS(SVG, "line");
	for (const [name, value] of [["x1", 0], ["x2", count * width], ["y1", height + 0.5], ["y2", height + 0.5]])
		base.setAttribute(name, value);
	shown.svg.setAttribute("width", count * width);
	shown.svg.setAttribute("height", height + 1);
	shown.svg.setAttribute("aria-label", !runs.length ? "no runs yet"
		: `last ${runs.length} runs: ${failed} failed, ${warned} warned; the longest took ${milliseconds(most)}`);
	shown.svg.replaceChildren(...parts, base);
}

function drawProbe(shown, probe) {
	const standing = probe.stale ? "stale" : probe.standing;
	const ran = probe.runs > 0;
	const mood = !probe.ok && (probe.standing === "failing" || probe.stale) ? "bad"
		: probe.standing === "unknown" ? "unknown" : ran && probe.state !== "pass" ? "warn" : "good";
	setText(shown.about, probe.role + ", " + probe.type);
	setText(shown.target, status.details ? probe.target || "" : "target hidden");
	setClass(shown.standing, mood);
	setText(shown.standing, standing);
	setText(shown.standingSince, "for " + duration(since(probe.since)));
	setClass(shown.reason, !ran ? "" : {pass: "", warn: "warn", fail: "bad"}[probe.state]);
	setText(shown.reason, !ran ? "no result yet" : probe.reason);
	setText(shown.message, !ran ? "" : !status.details && probe.state !== "pass" ? "message hidden" : probe.message || "");
	setText(shown.streak, streak(probe));
	setText(shown.threshold, `${probe.successThreshold} to pass, ${probe.failureThreshold} to fail`);
	drawRuns(shown, probe);
	setText(shown.latency, ran ? `${milliseconds(probe.durationMs)}, at most ${milliseconds(longest(probe))}` : "");
	setText(shown.age, ran ? duration(probe.ageMs + elapsed()) + " old" : "");
	setText(shown.next, nextRun(probe) + `, every ${probe.periodSeconds} s`);
}

function drawProbes() {
	const body = $("probes").tBodies[0];
	const seen = new Set();
	status.probes.forEach((probe, index) => {
		const key = probe.role + "/" + probe.name;
		let shown = rows.get(key);
		if (!shown)
			rows.set(key, shown = newRow(probe));
		seen.add(key);
		if (body.children[index] !== shown.row)
			body.insertBefore(shown.row, body.children[index] || null);
		drawProbe(shown, probe);
	});
	for (const [key, shown] of rows) {
		if (!seen.has(key)) {
			shown.row.remove();
			rows.delete(key);
		}
	}
	$("probes").hidden = !status.probes.length;
	setText($("probes-count"), String(status.probeCount));
	show($("more"), status.probesLeftOut && `${status.probesLeftOut} more are not shown; those in trouble come ` +
		"first. `readyd status` and /status tell of all.");
}

/* ---- transitions ---- */

function describe(transition) {
	switch (transition.event) {
	case "probe":
		return `${transition.role} ${transition.name}: ${transition.from} \u2192 ${transition.to}, ` +
			transition.reason + (transition.message ? ": " + transition.message : "");
	case "verdict":
		return `/${transition.endpoint}: ${transition.ok ? "yes" : "no"}` +
			(transition.why ? ", " + transition.why : "");
	case "drain":
		return `drain by ${transition.source} ${transition.draining ? "begins" : "ends"}`;
	case "reload":
		return `another configuration, ${transition.probeCount} probes`;
	case "restart":
		return "what is watched has been started anew";
	}
	return transition.event;
}

let transitionsDrawn = "";

function drawTransitions() {
	const key = status.startedAt + " " + status.transitionCount;
	if (transitionsDrawn === key)
		return;
	transitionsDrawn = key;
	$("transitions").replaceChildren(...status.transitions.slice().reverse().map(transition => {
		const item = document.createElement("li");
		const time = element("time", item);
		const date = new Date(transition.at);
		time.dateTime = transition.at;
		time.title = date.toLocaleString();
		time.textContent = date.toLocaleTimeString();
		element("span", item).textContent = describe(transition);
		return item;
	}));
	$("nothing").hidden = status.transitions.length > 0;
}

/* ---- the whole ---- */

function drawConnection() {
	const gone = failingSince > 0;
	document.body.classList.toggle("gone", gone);
	$("gone").hidden = !gone;
	/* The age is not part of the alert, which would be read out again every second. */
	setText($("gone-why"), gone ? `The agent does not answer: ${failure}.` : "");
	setText($("gone-age"), gone && status ? `What is below is ${duration(elapsed())} old.` : "");
	const waited = askedAt ? performance.now() - askedAt : 0;
	setText($("connection"), gone ? "not connected" : !status ? "connecting \u2026"
		: waited > WAIT_MS ? `no answer for ${duration(waited)}`
		: "live, as of " + new Date(status.at).toLocaleTimeString());
}

function draw() {
	drawConnection();
	if (!status)
		return;
	drawFrame();
	drawVerdicts();
	drawProbes();
	drawTransitions();
}

async function ask() {
	askedAt = performance.now();
	try {
		const answer = await fetch("status?limit=" + SHOWN_MAX,
			{cache: "no-store", signal: AbortSignal.timeout(TIMEOUT_MS)});
		if (!answer.ok)
			throw new Error("status " + answer.status);
		const said = await answer.json();
		/* Somebody else may have taken the port meanwhile. */
		if (!said || !said.verdicts || !said.verdicts.ready || !Array.isArray(said.probes))
			throw new Error("the answer is not readyd's");
		status = said;
		receivedAt = performance.now();
		failingSince = 0;
	} catch (error) {
		failure = error instanceof TypeError ? "no connection"
			: error.name === "TimeoutError" ? "no answer in time" : error.message;
		failingSince = failingSince || askedAt;
	}
	askedAt = 0;
	const began = performance.now();
	draw();
	/* Ten times what drawing cost is left for others; waiting for an answer costs nothing. */
	plan(Math.min(PERIOD_MS + 10 * (performance.now() - began), PERIOD_MAX_MS));
}

/* Not while nobody looks. */
function plan(delay) {
	clearTimeout(timer);
	if (!document.hidden)
		timer = setTimeout(ask, delay);
}

document.addEventListener("visibilitychange", () => {
	if (!askedAt)
		plan(0);
});
setInterval(() => {
	if (!document.hidden)
		draw();
}, 1000);
ask();
