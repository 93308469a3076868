"""What annotation tools export: labels of whole images, and boxes."""
