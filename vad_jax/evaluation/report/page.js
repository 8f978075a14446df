"use strict";
const videos = JSON.parse(document.getElementById("frames").textContent);

function make(tag, name, parent) {
  const element = document.createElement(tag);
  element.className = name;
  parent.append(element);
  return element;
}

function prepare(figure) {
  const video = videos[Number(figure.dataset.video)];
  if (!video.frames.length) return null;
  const plot = figure.querySelector(".plot");
  let shown = null;  // made at the first click
  let place = -1;  // among the kept frames

  function nearest(frame) {
    let best = 0;
    video.frames.forEach((kept, i) => {
      if (Math.abs(kept.frame - frame) < Math.abs(video.frames[best].frame - frame)) best = i;
    });
    return best;
  }

  function show(i) {
    place = Math.min(Math.max(i, 0), video.frames.length - 1);
    const kept = video.frames[place];
    if (!shown) {
      const panel = make("div", "shown", figure);
      const picture = make("img", "", panel);
      const words = make("p", "", panel);
      words.setAttribute("aria-live", "polite");
      shown = { picture, which: make("b", "", words), about: make("span", "", words),
                cursor: make("i", "cursor", plot) };
    }
    shown.picture.setAttribute("src", kept.picture);
    shown.picture.alt = "Frame " + kept.frame + " and its error map";
    shown.which.textContent = "frame " + kept.frame;
    shown.about.textContent = " · " + kept.about;
    shown.cursor.style.left = 100 * (kept.frame + 0.5) / video.length + "%";
    figure.dataset.frame = kept.frame;
    plot.setAttribute("aria-valuenow", kept.frame);
    plot.setAttribute("aria-valuetext", "frame " + kept.frame + ", " + kept.about);
  }

  plot.classList.add("live");
  plot.tabIndex = 0;
  plot.setAttribute("role", "slider");
  plot.setAttribute("aria-label", "Frame of " + video.name);
  plot.setAttribute("aria-valuemin", 0);
  plot.setAttribute("aria-valuemax", video.length - 1);
  plot.setAttribute("aria-valuenow", 0);
  plot.addEventListener("click", (event) => {
    const box = plot.getBoundingClientRect();
    show(nearest((event.clientX - box.left) / box.width * video.length - 0.5));
  });
  plot.addEventListener("keydown", (event) => {
    const step = { ArrowRight: 1, ArrowUp: 1, ArrowLeft: -1, ArrowDown: -1 }[event.key];
    if (!step) return;
    event.preventDefault();
    show(place < 0 ? 0 : place + step);
  });
}

document.querySelectorAll(".timeline").forEach(prepare);
