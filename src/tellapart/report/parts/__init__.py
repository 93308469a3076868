"""What several pages share: layout, style, figures, image galleries and wording."""
