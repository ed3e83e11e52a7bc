"use strict";
// The Merge button: the task's id for the server, and its progress above the result.
{
    function modelmerger(...args) {
        const id = randomId();
        requestProgress(id, document.getElementById("modelmerger_results_panel"), null, () => {});
        const values = create_submit_args(args);
        values[0] = id;
        return values;
    }

    Object.assign(window, {modelmerger});
}
