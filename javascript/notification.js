"use strict";
// A sound when new pictures are there, and a notification of the desktop while the page is out of sight.
{
    const THUMBNAILS = 'div[id^="tab_"] div[id$="_results"] .thumbnail-item.thumbnail-small img';

    let lastHeadImg = null;

    function playSound() {
        const audio = gradioApp().querySelector("#audio_notification audio, audio#audio_notification");
        if (!audio) return;
        audio.volume = currentOpts.notification_volume / 100 || 1;
        audio.play().catch((e) => console.debug(`no sound: ${e.message}`));
    }

    /** Number of different pictures among the thumbnails, the grid not counted. */
    function countPictures(thumbnails) {
        const count = new Set(thumbnails.map((image) => image.src)).size;
        return currentOpts.return_grid && count > 1 ? count - 1 : count;
    }

    function notifyDesktop(thumbnails) {
        if (document.hasFocus() || window.Notification?.permission !== "granted") return;
        const count = countPictures(thumbnails);
        const notification = new Notification("Stable Diffusion", {
            body: `Generated ${count} picture${count === 1 ? "" : "s"}`,
            icon: thumbnails[0].src,
            image: thumbnails[0].src,
        });
        notification.onclick = () => {
            window.focus();
            notification.close();
        };
    }

    onAfterUiUpdate(() => {
        const thumbnails = Array.from(gradioApp().querySelectorAll(THUMBNAILS));
        const head = thumbnails[0]?.src;
        if (!head || head === lastHeadImg) return;
        lastHeadImg = head;
        playSound();
        notifyDesktop(thumbnails);
    });
}
