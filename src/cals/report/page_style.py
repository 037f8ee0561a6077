"""Style sheet of pages of results, and the script that sorts their long tables."""

STYLE = """
:root{color-scheme:light dark;--paper:#fbfbf9;--card:#fff;--ink:#1d2126;--soft:#5a626c;--line:#dcdfe3;--main:#0b5fad;
--dot:#7aa7d3;--best:#e5f1e6}
@media(prefers-color-scheme:dark){:root{--paper:#14171a;--card:#1c2024;--ink:#e8eaec;--soft:#a3abb4;--line:#343a41;
--main:#7db8f0;--dot:#44678a;--best:#1f3526}}
*{box-sizing:border-box}
body{margin:0;background:var(--paper);color:var(--ink);font:16px/1.5 system-ui,-apple-system,"Segoe UI",sans-serif}
header,main{max-width:1480px;margin:0 auto;padding:0 24px}
header{padding-top:36px}h1{margin:0 0 8px;font-size:1.9rem;line-height:1.2;overflow-wrap:anywhere}
h2{margin:0 0 14px;font-size:1.3rem;scroll-margin-top:12px}
.eyebrow{margin:0;color:var(--soft);font-family:ui-monospace,monospace;font-size:.85rem}
nav ul{display:flex;flex-wrap:wrap;gap:6px 18px;padding:0;list-style:none}
a{color:var(--main)}small{color:var(--soft);font-weight:400}
section{margin:28px 0;padding:22px 24px;background:var(--card);border:1px solid var(--line);border-radius:10px}
.wide{overflow-x:auto}.wide:focus-visible,button:focus-visible,summary:focus-visible{outline:2px solid var(--main)}
table{border-collapse:collapse;width:100%;font-size:.92rem;font-variant-numeric:tabular-nums}
caption{text-align:left;color:var(--soft);padding-bottom:8px}
th,td{padding:6px 12px;border-bottom:1px solid var(--line);text-align:right;white-space:nowrap}
th:first-child,.words{text-align:left}th:first-child{position:sticky;left:0;background:var(--card)}td.words{white-space:normal;min-width:12em}
thead th{border-bottom:2px solid var(--line)}
tbody th{font-weight:500}tbody th small{display:block;font-size:.78rem}
td small{display:block;font-size:.78rem}
td.best{font-weight:700;background:var(--best)}.none{color:var(--soft)}
button{font:inherit;font-weight:600;color:inherit;background:none;border:0;padding:0;cursor:pointer;
text-decoration:underline dotted}
th[aria-sort=ascending] button::after{content:" \\2191"}th[aria-sort=descending] button::after{content:" \\2193"}
details{margin-top:20px}summary{cursor:pointer;color:var(--main);font-weight:600;padding:4px 0}
.plots{display:grid;grid-template-columns:repeat(auto-fill,minmax(min(380px,100%),1fr));gap:18px;margin-top:12px}
figure{margin:0}figcaption{font-size:.9rem;color:var(--soft);margin-bottom:4px}figcaption strong{color:var(--ink)}
.clips{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(640px,100%),1fr));gap:18px;margin-top:20px}
.clips figcaption{margin-top:6px}
video{width:100%;height:auto;display:block;background:#000;border-radius:6px}
img{max-width:100%;height:auto}
svg{width:100%;height:auto;display:block}svg text{fill:var(--soft);font-size:13px}
.axis{stroke:var(--line)}.goal{stroke:var(--soft);stroke-dasharray:3 3}
.clip{fill:var(--dot);opacity:.75}.interval{stroke:var(--main);stroke-width:3;stroke-linecap:round}
.mean{fill:var(--main);stroke:var(--card);stroke-width:1.5}
dl{margin:0;display:grid;gap:6px}dl div{display:grid;grid-template-columns:minmax(8em,14em) 1fr;gap:14px}
dt{font-weight:600}dd{margin:0;overflow-wrap:anywhere}
@media(max-width:560px){header,main{padding:0 12px}section{padding:16px 14px}dl div{grid-template-columns:1fr;gap:0}}
"""
SCRIPT = """
for (const table of document.querySelectorAll("table.sortable")) {
  const heads = [...table.tHead.rows[0].cells], body = table.tBodies[0];
  heads.forEach((head, column) => head.querySelector("button").addEventListener("click", () => {
    const down = head.getAttribute("aria-sort") === "ascending";
    heads.forEach(other => other.setAttribute("aria-sort", "none"));
    head.setAttribute("aria-sort", down ? "descending" : "ascending");
    const text = row => row.cells[column].textContent;
    const order = (a, b) => {
      const x = text(a), y = text(b);
      if (x === "" || y === "") return (x === "") - (y === "");
      const sign = down ? -1 : 1;
      return sign * (isNaN(x) || isNaN(y) ? x.localeCompare(y) : x - y);
    };
    body.append(...[...body.rows].sort(order));
  }));
}
"""
