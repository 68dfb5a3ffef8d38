/** Colours and the panel of settings: they answer from the start, before the page has heard from its server. */

/** @param {string} id @returns {any} */
const find = (id) => document.getElementById(id);

const dark = matchMedia("(prefers-color-scheme: dark)");
const root = document.documentElement;
const isDark = () => (root.dataset.theme ? root.dataset.theme === "dark" : dark.matches);
const showTheme = () => find("theme").setAttribute("aria-pressed", isDark());
find("theme").addEventListener("click", () => {
  root.dataset.theme = isDark() ? "light" : "dark";
  showTheme();
  try {
    localStorage.setItem("theme", root.dataset.theme);
  } catch {
    // storage is forbidden: the choice lasts as long as the page
  }
});
dark.addEventListener("change", showTheme);
showTheme();

const isPanelOpen = () => find("panel").classList.contains("open");
function showPanel(isOpen) {
  find("panel").classList.toggle("open", isOpen);
  find("panel-button").setAttribute("aria-expanded", isOpen);
  find(isOpen ? "panel" : "panel-button").focus();
}
find("panel-button").addEventListener("click", () => showPanel(!isPanelOpen()));
find("panel-close").addEventListener("click", () => showPanel(false));

/** @returns {boolean} whether it was open */
export function closePanel() {
  const isOpen = isPanelOpen();
  if (isOpen) showPanel(false);
  return isOpen;
}
