// One player at a time, and a line in the picture where it is. Players, tables and switches work without it.
"use strict";
const players = [...document.querySelectorAll("audio")];
function show(player) {
  const head = player.closest(".take").querySelector(".head");
  const share = player.duration ? player.currentTime / player.duration : 0;
  head.style.left = `${100 * share}%`;
  head.classList.toggle("on", share > 0 && share < 1);
}
for (const player of players) {
  player.addEventListener("play", () => {
    for (const other of players) if (other !== player) other.pause();
    const follow = () => { show(player); if (!player.paused) requestAnimationFrame(follow); };
    follow();
  });
  for (const event of ["pause", "seeked", "ended"]) player.addEventListener(event, () => show(player));
}
for (const box of document.querySelectorAll(".switch")) {
  box.addEventListener("change", () => {
    for (const take of box.closest(".clip").querySelectorAll(".take")) {
      const mix = take.querySelector(".mix"), alone = take.querySelector(".alone");
      if (!mix) continue;
      const [to, from] = box.checked ? [mix, alone] : [alone, mix];
      if (from.currentTime === 0 && from.paused) continue;
      const go = !from.paused, at = from.currentTime;
      from.pause();
      const move = () => { to.currentTime = at; if (go) to.play(); };
      if (to.readyState > 0) move();
      else { to.addEventListener("loadedmetadata", move, { once: true }); to.load(); }
    }
  });
}
