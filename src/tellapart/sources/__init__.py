"""From what the user points at to a catalog: folders, tables, containers and exports."""
