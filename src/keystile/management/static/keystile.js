// Keystile's pages work without this file, as plain forms on pages of their own. With it the same forms open in dialogs,
// times are written in the reader's zone, and what is typed is looked at before it is sent. Nothing is kept in the browser.
"use strict";
(() => {
  const $ = (selector, root = document) => root.querySelector(selector);
  const $$ = (selector, root = document) => [...root.querySelectorAll(selector)];
  const read = async (response) => new DOMParser().parseFromString(await response.text(), "text/html");
  const signedOut = (response) => new URL(response.url).pathname.startsWith("/sign-in");
  const live = document.createElement("p");
  live.className = "hidden";
  live.setAttribute("role", "status");
  const say = (text) => { live.textContent = ""; requestAnimationFrame(() => { live.textContent = text; }); };

  // Times, in the reader's own zone and language.
  const dates = new Intl.DateTimeFormat(undefined, { dateStyle: "medium" });
  const minutes = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "short" });
  const seconds = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "long" });
  function times(root) {
    for (const time of $$("time[data-form]", root)) {
      const at = new Date(time.dateTime);
      if (isNaN(at)) continue;
      time.title = seconds.format(at);
      if (time.dataset.form === "minute") time.textContent = minutes.format(at);
      if (time.dataset.form === "day") time.textContent = dates.format(at);
    }
  }

  // The search field above permissions, and how many are chosen.
  function picker(root) {
    const field = $("[data-filter]", root);
    if (!field) return;
    const box = field.closest(".picker"), count = $("[data-count]", box), nothing = $("[data-nothing]", box);
    const look = () => {
      const words = field.value.toLowerCase().split(/\s+/).filter(Boolean);
      let found = 0;
      for (const area of $$(".area", box)) {
        let here = 0;
        for (const choice of $$(".choice", area)) {
          const text = (area.firstElementChild.textContent + " " + choice.textContent + " " + $("input", choice).value).toLowerCase();
          choice.hidden = !words.every((word) => text.includes(word));
          here += !choice.hidden;
        }
        area.hidden = !here;
        found += here;
      }
      nothing.hidden = found > 0;
      const chosen = $$("input:checked", box).length;
      count.textContent = words.length ? `${found} found` : `${chosen} chosen`;
    };
    field.addEventListener("input", look);
    field.addEventListener("keydown", (event) => {
      if (event.key === "Enter") event.preventDefault();
      if (event.key === "Escape" && field.value) { event.preventDefault(); event.stopPropagation(); field.value = ""; look(); }
    });
    box.addEventListener("change", look);
    look();
  }

  // Where a key may be used from, looked at while it is typed.
  function networks(root) {
    const field = $("[data-check]", root);
    if (!field) return;
    const errors = document.getElementById(field.id + "-error");
    let timer, asking;
    const show = (faults, note) => {
      field.toggleAttribute("aria-invalid", false);
      if (faults.length) field.setAttribute("aria-invalid", "true");
      errors.replaceChildren(...[...faults, ...(note ? [note] : [])].slice(0, 6).map((text, at) => {
        const line = document.createElement("p");
        line.className = at < faults.length ? "error" : "hint";
        line.textContent = text;
        return line;
      }));
    };
    const check = async () => {
      asking?.abort();
      asking = new AbortController();
      if (!field.value.trim()) return show([], "");
      const body = new URLSearchParams({ csrf: field.form.elements.csrf.value, networks: field.value });
      try {
        const response = await fetch(field.dataset.check, { method: "POST", body, signal: asking.signal });
        if (!response.ok || response.redirected) return;
        const told = await response.json();
        show(told.faults, told.note);
      } catch { /* aborted, or not reached: the same is checked when the form is sent */ }
    };
    const soon = () => { clearTimeout(timer); timer = setTimeout(check, 350); };
    field.addEventListener("input", soon);
    $("[data-add]", root)?.addEventListener("click", (event) => {
      const address = event.currentTarget.dataset.add;
      const lines = field.value.split("\n").map((line) => line.trim()).filter(Boolean);
      if (!lines.includes(address)) field.value = [...lines, address].join("\n");
      field.focus();
      check();
    });
  }

  async function copy(button) {
    const source = document.getElementById(button.dataset.copy), label = $("[data-copy-label]", button) || button;
    let copied = false;
    try {
      await navigator.clipboard.writeText(source.textContent);
      copied = true;
    } catch {
      getSelection().selectAllChildren(source);
      copied = document.execCommand("copy");
    }
    const status = $("[data-copied]", button.closest("section"));
    label.textContent = copied ? "Copied" : "Selected";
    if (status) status.textContent = copied ? "Copied to the clipboard." : "Selected. Copy it with your keyboard.";
    clearTimeout(button.timer);
    button.timer = setTimeout(() => { label.textContent = "Copy"; if (status) status.textContent = ""; }, 4000);
  }

  function enliven(root) {
    for (const part of $$("[data-script]", root)) part.hidden = false;
    times(root);
    picker(root);
    networks(root);
  }

  // Dialogs: the same pages, fetched, with their one section shown above the list.
  let dialog = null, opener = "", url = "", touched = false;

  async function open(link) {
    opener = link.id;
    url = link.href;
    const response = await fetch(url);
    const part = response.redirected || response.status >= 500 ? null : $("[data-fragment]", await read(response));
    if (!part) return location.assign(link.href);
    dialog = document.createElement("dialog");
    dialog.className = "modal";
    dialog.setAttribute("aria-labelledby", "form-title");
    document.body.append(dialog);
    fill(part);
    dialog.addEventListener("input", () => { touched = true; });
    dialog.addEventListener("cancel", (event) => { if (deliberate()) { event.preventDefault(); stay(); } });
    dialog.addEventListener("close", () => { if (deliberate()) { dialog.showModal(); stay(); } else shut(); });
    dialog.addEventListener("keydown", (event) => {
      if (event.key === "Escape" && deliberate()) { event.preventDefault(); stay(); }
    });
    dialog.addEventListener("mousedown", (event) => {
      if (event.target !== dialog) return;
      if (deliberate()) stay();
      else if (!touched) dialog.close();
    });
    dialog.showModal();
    focus();
  }

  function fill(part) {
    touched = false;
    dialog.replaceChildren(document.importNode(part, true));
    // Chromium lets a second Esc through "cancel"; this says that there is none.
    dialog.setAttribute("closedby", deliberate() ? "none" : "closerequest");
    enliven(dialog);
    dialog.scrollTop = 0;
  }

  function focus() {
    ($("[autofocus]", dialog) || $("input:not([type=hidden]), textarea, button", dialog))?.focus();
  }

  const deliberate = () => dialog && $("[data-deliberate]", dialog) && !dialog.done;

  function stay() {
    const hint = $("[data-stay]", dialog);
    hint.textContent = "";
    requestAnimationFrame(() => { hint.textContent = "The key will not be shown again. Say below that you have copied it, then choose Done."; });
    $("#copied", dialog).focus();
  }

  function shut() {
    dialog?.remove();
    dialog = null;
    document.getElementById(opener)?.focus();
  }

  // What the server answered takes the place of the page behind, without a flash; focus goes back to where it was.
  async function show(response) {
    const page = await read(response), main = $("#main", page);
    if (!main || signedOut(response)) return location.assign(response.url);
    enliven(main);
    $("#main").replaceWith(document.adoptNode(main));
    document.title = page.title;
    const was = opener;
    shut();
    tidy(response.url);
    if (!document.getElementById(was)) $("#title")?.focus();
    say($("#main > .notice")?.textContent.trim() || "");
  }

  function tidy(address) {
    const clean = new URL(address);
    clean.searchParams.delete("done");
    history.replaceState(null, "", clean);
  }

  async function send(form, button) {
    if (dialog.busy) return;
    const current = dialog;
    current.busy = true;
    button?.setAttribute("aria-busy", "true");
    try {
      if (form.method === "get") {
        current.done = true;
        return await show(await fetch(form.action + "?" + new URLSearchParams(new FormData(form))));
      }
      if (current.renew) await renew(form);
      const response = await fetch(form.action, { method: "POST", body: new URLSearchParams(new FormData(form)) });
      if (signedOut(response)) { current.renew = true; return trouble("You have been signed out.", "/sign-in", "Sign in in a new tab, then come back and send this again."); }
      if (response.redirected) return await show(response);
      const part = $("[data-fragment]", await read(response));
      if (response.status === 403) { current.renew = true; return trouble("This was not accepted, since you have signed in anew meanwhile. Send it again."); }
      if (!part || response.status >= 500) return trouble("The server could not do this now. Nothing you typed is lost; try again in a moment.");
      fill(part);
      focus();
    } catch {
      trouble("The server could not be reached. Nothing you typed is lost; try again in a moment.");
    } finally {
      current.busy = false;
      button?.removeAttribute("aria-busy");
    }
  }

  // After signing in anew the form needs the new session's own token.
  async function renew(form) {
    const fresh = $("input[name=csrf]", await read(await fetch(url)));
    if (fresh) { form.elements.csrf.value = fresh.value; dialog.renew = false; }
  }

  function trouble(text, href, more) {
    $(".trouble", dialog)?.remove();
    const line = document.createElement("p");
    line.className = "notice bad trouble";
    line.setAttribute("role", "alert");
    line.append(text + " ");
    if (href) {
      const link = document.createElement("a");
      Object.assign(link, { href, target: "_blank", rel: "noopener", textContent: more });
      line.append(link);
    }
    $(".foot", dialog)?.prepend(line);
  }

  document.addEventListener("click", (event) => {
    const link = event.target.closest?.("a[data-dialog]"), plain = !event.ctrlKey && !event.metaKey && !event.shiftKey && !event.altKey && event.button === 0;
    if (link && plain && window.HTMLDialogElement && !dialog) {
      event.preventDefault();
      open(link).catch(() => location.assign(link.href));
    } else if (dialog && plain && event.target.closest?.("[data-close]")) {
      event.preventDefault();
      dialog.close();
    }
    const button = event.target.closest?.("[data-copy]");
    if (button) copy(button);
  });
  document.addEventListener("submit", (event) => {
    if (!dialog?.contains(event.target)) return;
    event.preventDefault();
    send(event.target, event.submitter);
  });
  // A key that nobody has copied is lost with its page.
  addEventListener("beforeunload", (event) => {
    const part = $("[data-deliberate]");
    if (part && !$("#copied", part)?.checked) event.preventDefault();
  });

  document.body.append(live);
  enliven(document);
  if (new URL(location).searchParams.has("done")) tidy(location);
})();
