"""Networks: timm's, our own and the user's; their weights, heads and stages. Needs torch."""

from tellapart.home import give_libraries_a_home

give_libraries_a_home()  # before timm is imported: its libraries look for a home only then
