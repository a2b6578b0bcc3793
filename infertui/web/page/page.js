// What the terminal needs to know before it starts, and where the keys go.

// The token is a cookie from here on: it stays neither in the address bar nor in the history.
history.replaceState(null, "", "/");

addEventListener("DOMContentLoaded", () => {
  const terminal = document.getElementById("terminal");
  const again = document.getElementById("again");
  terminal.dataset.sessionWebsocketUrl = `ws://${location.host}/ws`;
  again.addEventListener("click", () => location.reload());

  const focus = () => {
    const over = document.body.classList.contains("-closed");
    const target = over ? again : terminal.querySelector(".xterm-helper-textarea");
    target?.focus();
  };
  addEventListener("focus", focus);
  new MutationObserver(focus).observe(document.body, { attributeFilter: ["class"] });
});
