// Faces that are clicked, and two videos with one button. Listeners are on the document: Gradio replaces the pieces.
(() => {
  const boxes = () => [...document.querySelectorAll("#who input[type=checkbox]")];
  const showChosen = () => {
    const chosen = boxes().map((box) => box.checked);
    document.querySelectorAll(".cals-face").forEach((face, number) => {
      if (chosen.length) face.setAttribute("aria-pressed", String(chosen[number]));
    });
  };
  const pair = () => ({
    result: document.querySelector(".cals-result"),
    original: document.querySelector(".cals-original"),
    button: document.querySelector(".cals-play"),
  });

  document.addEventListener("change", (event) => {
    if (event.target.closest("#who")) setTimeout(showChosen);
  });
  document.addEventListener("click", (event) => {
    const face = event.target.closest(".cals-face");
    if (face) {
      boxes().forEach((box, number) => {
        if (box.checked !== (number === Number(face.dataset.face))) box.click();
      });
      setTimeout(showChosen);
    }
    if (event.target.closest(".cals-play")) {
      const { result, original } = pair();
      if (!result.paused) {
        result.pause();
        return;
      }
      if (original) original.currentTime = result.ended ? 0 : result.currentTime % (original.duration || Infinity);
      result.play();
      original?.play().catch(() => {}); // a format that this browser cannot play: its first picture stays
    }
  });
  for (const kind of ["play", "pause", "ended"]) {
    document.addEventListener(kind, (event) => {
      const { result, original, button } = pair();
      if (event.target !== result) return;
      if (result.paused) original?.pause();
      button.textContent = result.paused ? "Play both" : "Pause";
    }, true); // media events do not bubble
  }
})();
